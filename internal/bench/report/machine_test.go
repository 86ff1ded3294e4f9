package report

import (
	"strings"
	"testing"
)

func TestDescribeMachine(t *testing.T) {
	m := DescribeMachine("v9")
	if m.Cores < 1 || m.Memory < 1<<26 || !strings.HasPrefix(m.Kernel, "Linux ") || !strings.HasPrefix(m.Go, "go") || m.Weft != "v9" || m.CPU == "" {
		t.Errorf("%+v", m)
	}
	if DescribeMachine("").Weft == "" {
		t.Error("no version")
	}
}
