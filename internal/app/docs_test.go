package app

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/yamlfile"
)

// The page on the app file shows apps that work and names every key.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/app-file.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) == 0 {
		t.Error("no examples")
	}
	for _, b := range blocks {
		if _, err := Parse("docs/app-file.md", b[1]); err != nil {
			t.Error(err)
		}
	}
	for _, keys := range [][]string{
		yamlfile.Names(appFields), yamlfile.Names(allFunctionFields), yamlfile.Names(workflowFields), yamlfile.Names(stepFields), yamlfile.Names(retryFields), yamlfile.Names(triggerFields),
		yamlfile.Names(secretFields), yamlfile.Names(instanceFields), yamlfile.Names(signalFields), yamlfile.Names(catchFields), yamlfile.Names(serviceFields), yamlfile.Names(callersFields), yamlfile.Names(limitsFields),
	} {
		for _, key := range keys {
			if !strings.Contains(string(page), "| `"+key+"` |") {
				t.Errorf("key %s is not described", key)
			}
		}
	}
}

// The examples that come with weft are valid.
func TestExamples(t *testing.T) {
	folders, err := os.ReadDir("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		path := "../../examples/" + f.Name()
		if _, err := os.Stat(path + "/" + FileName); err != nil {
			continue
		}
		if _, err := Load(path); err != nil {
			t.Error(err)
		}
	}
}
