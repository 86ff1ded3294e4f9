package schedext

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// need skips a test outside of the virtual machine of `make schedext`.
func need(t *testing.T) {
	t.Helper()
	if os.Getenv("WEFT_SCHEDEXT") == "" {
		t.Skip("`make schedext` runs this test in a virtual machine")
	}
}

func state(t *testing.T) string {
	t.Helper()
	state, err := State()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestSchedExtComesAndGoes(t *testing.T) {
	need(t)
	if err := Try(); err != nil {
		t.Fatal(err)
	}
	if s := state(t); s != "disabled" {
		t.Fatalf("trying left %q", s)
	}
	s, err := Load(Options{})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if s := state(t); s != "enabled" {
		t.Errorf("state %q", s)
	}
	name, err := os.ReadFile("/sys/kernel/sched_ext/root/ops")
	if err != nil || string(name) != Name+"\n" {
		t.Errorf("the kernel has %q, %v", name, err)
	}
	if _, err := Load(Options{}); err == nil {
		t.Error("there are two")
	}
	if err := s.Open(0, Place{}); err == nil {
		t.Error("call 0 is one")
	}
	if err := s.Open(1, Place{Tier: Express}); err != nil {
		t.Error(err)
	}
	if err := s.Open(1, Place{Tier: Express}); err == nil {
		t.Error("call 1 is two")
	}
	if err := s.Move(1, Place{Tier: Batch, Rank: 2, Slice: time.Millisecond}); err != nil {
		t.Error(err)
	}
	var c call
	if err := s.objects.Calls.Lookup(uint64(1), &c); err != nil || c.Place != (place{3, 2, 1e6}) {
		t.Errorf("call 1 is at %+v, %v", c.Place, err)
	}
	if err := s.Move(2, Place{Tier: Batch}); err == nil {
		t.Error("call 2 is nowhere, and was moved")
	}
	for range 2 {
		if err := s.Drop(1); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s := state(t); s != "disabled" {
		t.Errorf("after Close %q", s)
	}
	select {
	case <-s.Ejected():
		t.Error("it was ejected")
	default:
	}
}

func TestOptions(t *testing.T) {
	for patience, ok := range map[time.Duration]bool{0: true, time.Millisecond: false, time.Second: true, PatienceMax: true, PatienceMax + 1: false} {
		o := Options{Patience: patience}
		o.EnsureDefaults()
		if err := o.Validate(); (err == nil) != ok {
			t.Errorf("%v: %v", patience, err)
		}
	}
}

func TestSpec(t *testing.T) {
	spec, err := spec(Options{Patience: 7 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var timeouts int
	value := spec.Maps["tiers"].Contents[0].Value.([]byte)
	for i := 0; i+4 <= len(value); i += 4 {
		if bytes.Equal(value[i:i+4], []byte{0x58, 0x1b, 0, 0}) { // 7000 ms
			timeouts++
		}
	}
	if timeouts != 1 {
		t.Errorf("the timeout is in %d places: %x", timeouts, value)
	}
	if p := spec.Programs["place"]; p == nil || p.Type != ebpf.Syscall {
		t.Errorf("place is %+v", p)
	}
	for name, p := range spec.Programs {
		if strings.HasPrefix(name, "tiers_") && p.Type != ebpf.StructOps {
			t.Errorf("%s is %v", name, p.Type)
		}
	}
	var cores uint32
	if err := spec.Variables["cores"].Get(&cores); err != nil || cores == 0 {
		t.Errorf("%d cores, %v", cores, err)
	}
}

// The object is what its source gives, with the compiler that it was made with.
func TestObject(t *testing.T) {
	const made = "clang version 14."
	version, err := exec.Command("clang", "--version").Output()
	if err != nil || !strings.Contains(string(version), made) {
		t.Skipf("tiers.o was made with %s…, and there is %q, %v", made, version, err)
	}
	file := filepath.Join(t.TempDir(), "tiers.o")
	out, err := exec.Command("clang", "-target", "bpfel", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", "-c", "tiers.c", "-o", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	fresh, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, got := code(t, fresh), code(t, object)
	for name := range want {
		if !bytes.Equal(want[name], got[name]) {
			t.Errorf("section %s of tiers.o is not of tiers.c: make schedext-object", name)
		}
	}
	if len(want) != len(got) || len(got) < 10 {
		t.Errorf("%d sections, want %d", len(got), len(want))
	}
}

// code is the sections of an object that become programs and their data.
func code(t *testing.T, object []byte) map[string][]byte {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		out[s.Name] = data
	}
	return out
}
