package policy

import (
	"reflect"
	"testing"
)

// TestParametersAreReset changes each parameter, and gives it its default again.
func TestParametersAreReset(t *testing.T) {
	want := Defaults(3)
	for _, p := range Parameters {
		o := Defaults(3)
		changed := false
		for _, text := range []string{"7", "7ms", "false", "7h"} {
			changed = changed || o.Set("", p.Name, text) == nil && !reflect.DeepEqual(o.Get(), want.Get())
		}
		if !changed {
			t.Errorf("%s could not be changed", p.Name)
		}
		if err := o.Set("", p.Name, ""); err != nil || !reflect.DeepEqual(o.Get(), want.Get()) {
			t.Errorf("%s: %v: %v, want %v", p.Name, err, o.Get(), want.Get())
		}
	}
}
