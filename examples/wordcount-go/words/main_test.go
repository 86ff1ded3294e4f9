package main

import (
	"encoding/json"
	"os"
	"reflect"
	"strconv"
	"testing"
)

// The functions run one after the other in this process, over the SDK's table of slots.
func TestCountsAllWords(t *testing.T) {
	const data = "../../wordcount/data"
	t.Setenv("WEFT_STEP", "list")
	var where struct {
		Folder   string `json:"folder"`
		Suffix   string `json:"suffix"`
		Batches  int    `json:"batches"`
		Reducers int    `json:"reducers"`
	}
	where.Folder, where.Suffix, where.Batches, where.Reducers = t.TempDir(), ".txt", 2, 3
	for i := range 3 {
		text, err := os.ReadFile(data + "/part-" + strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(where.Folder+"/"+strconv.Itoa(i)+".txt", text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(where.Folder+"/other", []byte("not counted"), 0o600); err != nil {
		t.Fatal(err)
	}
	listed, err := list(where)
	if err != nil || listed.Files != 3 {
		t.Fatalf("list: %+v, %v", listed, err)
	}
	t.Setenv("WEFT_STEP", "count")
	for i := range listed.Batches {
		t.Setenv("WEFT_INDEX", strconv.Itoa(i))
		if _, err := count(struct{ Batch, Reducers int }{i, listed.Reducers}); err != nil {
			t.Fatal(err)
		}
	}
	var parts []summary
	for r := range listed.Reducers {
		s, err := reduce(struct{ Part, Batches int }{r, listed.Batches})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, s)
	}
	out, err := total(struct {
		Parts []summary `json:"parts"`
		Files int       `json:"files"`
		Bytes int64     `json:"bytes"`
	}{parts, listed.Files, listed.Bytes})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	var got, want summary
	answers, err := os.ReadFile(data + "/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(answers, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
