package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/yamlfile"
)

const everything = `
data: ./data
socket: run/weft.sock
listen: ["127.0.0.1:8080", ":8443", "[::1]:0"]
tls: {cert: cert.pem, key: /etc/weft/key.pem}
hosts: [weft.example.org, "weft.example.org:8443"]
origins: [https://console.example.org, "http://localhost:3000"]
drain: 1m
retention: 30d
speculate: false
python: /usr/bin/python3.12
python_parents: false
cpu: alps
cpu_backend: sched
cpu_parameters: [alps.theta=40, weight.shop=2.5]
limits: {body: 1MiB, buffer: 1GiB, input: 64KiB, value: 32KiB, runs: 10, runs_per_app: 5, memory: 1.5GiB, concurrency: 8, memory_per_app: 1GiB, concurrency_per_app: 4, queue: 2, connections: 7}
grants:
  folders: [/srv/data, "./shared:rw", "/x:ro"]
  dial: ["*.example.org:443", "10.0.0.0/8:5432", "[fd00::/8]:*", "db:5000-5010", "127.0.0.1:80", "*:443"]
  listen: [8080, 9000-9010]
  native: false
  memory: 256MiB
services: {domain: example.org, calls: open}
pool: {ready: 0, idle: 30s, predict: false}
telemetry: {otlp: "http://127.0.0.1:4318", log_format: json, log_level: debug, metrics: open}
`

func TestEverySettingIsRead(t *testing.T) {
	c, err := Parse("weft.yaml", "/etc/weft", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Data:      "/etc/weft/data",
		Socket:    "/etc/weft/run/weft.sock",
		Listen:    []string{"127.0.0.1:8080", ":8443", "[::1]:0"},
		TLS:       TLS{"/etc/weft/cert.pem", "/etc/weft/key.pem"},
		Hosts:     []string{"weft.example.org", "weft.example.org:8443"},
		Origins:   []string{"https://console.example.org", "http://localhost:3000"},
		Drain:     time.Minute,
		Retention: 30 * 24 * time.Hour,
		Python:    "/usr/bin/python3.12",
		CPU:       "alps", CPUBackend: "sched", CPUParameters: []string{"alps.theta=40", "weight.shop=2.5"},
		Limits: Limits{1 << 20, 1 << 30, 64 << 10, 32 << 10, 10, 5, 3 << 29, 8, Quota{1 << 30, 4}, 2, 7},
		Grants: Grants{
			Folders: []Folder{{"/srv/data", false}, {"/etc/weft/shared", true}, {"/x", false}},
			Dial:    c.Grants.Dial,
			Listen:  []Ports{{8080, 8080}, {9000, 9010}},
			Memory:  256 << 20,
		},
		Services:  Services{"example.org", AccessOpen},
		Pool:      Pool{0, 30 * time.Second, false},
		Telemetry: Telemetry{"http://127.0.0.1:4318", LogJSON, LevelDebug, MetricsOpen},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	var dial []string
	for _, p := range c.Grants.Dial {
		dial = append(dial, p.String())
	}
	if got := strings.Join(dial, " "); got != "*.example.org:443 10.0.0.0/8:5432 [fd00::/8]:* db:5000-5010 127.0.0.1:80 *:443" {
		t.Errorf("dial %s", got)
	}
	// Nothing of the file is at its default: what is forgotten here shows.
	d := Default()
	compare(t, "", reflect.ValueOf(*c), reflect.ValueOf(*d))
}

// compare fails for each field that has its default.
func compare(t *testing.T, path string, got, standard reflect.Value) {
	for i := range got.NumField() {
		name := path + got.Type().Field(i).Name
		if got.Field(i).Kind() == reflect.Struct {
			compare(t, name+".", got.Field(i), standard.Field(i))
		} else if reflect.DeepEqual(got.Field(i).Interface(), standard.Field(i).Interface()) {
			t.Errorf("%s has its default", name)
		}
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	full, err := Parse("weft.yaml", "/etc/weft", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	odd := Default()
	odd.Data = "/tmp/ü \"quoted\" #1: <x>"
	odd.Grants.Folders = []Folder{{"/a:rw", false}, {"/b:ro", true}, {"/", false}}
	odd.Grants.Dial = nil
	for name, c := range map[string]*Config{"default": Default(), "full": full, "odd": odd} {
		again, err := Parse("weft.yaml", "/elsewhere", c.YAML())
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, c.YAML())
			continue
		}
		want := *c
		want.Socket = c.SocketPath() // what is written is what holds
		if !reflect.DeepEqual(again, &want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, again, &want)
		}
		for line := range strings.Lines(string(c.YAML())) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") && len(line) > commentWidth+1 {
				t.Errorf("long comment: %s", line)
			}
		}
	}
}

func TestEmptyFileHasDefaults(t *testing.T) {
	for _, src := range []string{"", "# nothing\n"} {
		c, err := Parse("weft.yaml", "/", []byte(src))
		if err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("got %+v, %v", c, err)
		}
	}
}

func TestPathsOfTheUser(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	c := &Config{Data: "/data"}
	if got := c.SocketPath(); got != "/run/user/7/weft.sock" {
		t.Errorf("got %s", got)
	}
	t.Setenv("XDG_RUNTIME_DIR", "relative")
	if got := c.SocketPath(); got != "/data/weft.sock" {
		t.Errorf("got %s", got)
	}
	c.Socket = "/s"
	if got := c.SocketPath(); got != "/s" {
		t.Errorf("got %s", got)
	}
	t.Setenv("XDG_DATA_HOME", "/xdg")
	want := "/xdg/weft"
	if os.Geteuid() == 0 {
		want = "/var/lib/weft"
	}
	if got := Default().Data; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Each file has one thing that is wrong with it.
func TestWrongSettings(t *testing.T) {
	for _, test := range []struct{ src, want, hint string }{
		{"dta: /x", `c.yaml:1:1: unknown key "dta" in the configuration`, `did you mean "data"?`},
		{"limits: {boddy: 1MiB}", `c.yaml:1:10: unknown key "boddy" in limits`, `did you mean "body"?`},
		{"data: ''", "c.yaml:1:7: data: want a folder; found an empty string", ""},
		{`data: "a\0b"`, "c.yaml:1:7: data: want a folder; found the string \"a\\x00b\"", ""},
		{"data: 5", "c.yaml:1:7: data: want a folder; found the number 5", ""},
		{"socket: /" + strings.Repeat("x", 107), "c.yaml:1:9: socket: /" + strings.Repeat("x", 58) + "… has 108 bytes; unix sockets have 107 at most", "choose a shorter path"},
		{"listen: 127.0.0.1:80", `c.yaml:1:9: listen: want a list such as ["127.0.0.1:8080"]; found the string "127.0.0.1:80"`, "write [127.0.0.1:80]"},
		{"listen: [127.0.0.1]", `c.yaml:1:10: listen: want "host:port", such as "127.0.0.1:8080"; found the string "127.0.0.1"`, ""},
		{`listen: [":65536"]`, `c.yaml:1:10: listen: want "host:port", such as "127.0.0.1:8080"; found the string ":65536"`, ""},
		{`listen: [":80", ":80"]`, "c.yaml:1:17: listen: :80 is given twice", "remove one of the two"},
		{"tls: {cert: x}", "c.yaml:1:6: tls has a cert without a key", "add `key: PATH`"},
		{"tls: {key: x, cert: ''}", "c.yaml:1:6: tls has a key without a cert", "add `cert: PATH`"},
		{"tls: {key: x, cert: 5}", "c.yaml:1:21: cert: want a file; found the number 5", ""},
		{"hosts: [https://x]", `c.yaml:1:9: hosts: want a name such as weft.example.org, with or without a port; found the string "https://x"`, ""},
		{`hosts: ["*.example.org"]`, `c.yaml:1:9: hosts: want a name such as weft.example.org, with or without a port; found the string "*.example.org"`, ""},
		{"services: {domain: 'example.org:80'}", `c.yaml:1:20: domain: want a name such as example.org; found the string "example.org:80"`, ""},
		{`hosts: ["a:b:c"]`, `c.yaml:1:9: hosts: want a name such as weft.example.org, with or without a port; found the string "a:b:c"`, ""},
		{"origins: [https://x/]", `c.yaml:1:11: origins: want an origin such as https://console.example.org, without a path; found the string "https://x/"`, "write https://x"},
		{"origins: [x]", `c.yaml:1:11: origins: want an origin such as https://console.example.org, without a path; found the string "x"`, ""},
		{"drain: 2d", `c.yaml:1:8: drain: want a duration from 0s to 24h; found the string "2d"`, ""},
		{"limits: {body: 0}", "c.yaml:1:16: body: want a size from 1B to 1048576GiB; found the number 0", "write a number with a unit: 64KiB, 256MiB or 1.5GiB"},
		{"limits: {input: 1GiB}", `c.yaml:1:17: input: want a size from 1B to 64MiB; found the string "1GiB"`, ""},
		{"limits: {runs: 0}", "c.yaml:1:16: runs: want a whole number from 1 to 10000000; found the number 0", ""},
		{"limits: 5", "c.yaml:1:9: want a mapping with body, buffer, input, value, runs, runs_per_app, memory, concurrency, memory_per_app, concurrency_per_app, queue, connections as limits; found the number 5", ""},
		{"speculate: yes", `c.yaml:1:12: speculate: want true or false; found the string "yes"`, ""},
		{"grants: {folders: [5]}", "c.yaml:1:20: folders: want a folder such as /srv/data, or /srv/data:rw for writing; found the number 5", ""},
		{"grants: {folders: [':rw']}", "c.yaml:1:20: folders: want a folder; found an empty string", ""},
		{"grants: {folders: [/a, /b/../a]}", "c.yaml:1:24: folders: /a is given twice", "remove one of the two"},
		{"grants: {dial: [example.org]}", `c.yaml:1:17: dial: "example.org" is no host:port: it has no port`, `for example "*.example.org:443", "10.0.0.0/8:5432", "[::1]:8000-8100" or "*:*"`},
		{"grants: {listen: [0]}", `c.yaml:1:19: listen: want a port such as 8080, or "8000-8100"; found the number 0`, ""},
		{"grants: {listen: [9-8]}", `c.yaml:1:19: listen: want a port such as 8080, or "8000-8100"; found the string "9-8"`, ""},
		{"grants: {memory: 8GiB}", `c.yaml:1:18: memory: want a size from 64KiB to 4GiB; found the string "8GiB"`, ""},
		{"pool: {ready: many}", `c.yaml:1:15: ready: want a whole number from 0 to 100; found the string "many"`, ""},
		{"telemetry: {otlp: localhost:4318}", `c.yaml:1:19: otlp: want a URL such as http://127.0.0.1:4318; found the string "localhost:4318"`, ""},
		{"telemetry: {log_level: warning}", `c.yaml:1:24: unknown log_level "warning": want debug or info or warn or error`, ""},
		{"telemetry: {metrics: opne}", `c.yaml:1:22: unknown metrics "opne": want token or open`, `did you mean "open"?`},
		{"cpu: wefft", `c.yaml:1:6: unknown cpu "wefft": want none or alps or sfs or weft`, `did you mean "weft"?`},
		{"cpu_parameters: [speed=1]", `c.yaml:1:18: cpu_parameters: "speed": not a parameter of a CPU policy`, "docs/cpu.md has the parameters"},
		{"cpu_parameters: [weft.slot=1]", `c.yaml:1:18: cpu_parameters: "weft.slot": not a parameter of a CPU policy`, `did you mean "weft.slots"?`},
		{"cpu_parameters: [alps.theta]", `c.yaml:1:18: cpu_parameters: want a parameter such as "alps.theta=40"; found the string "alps.theta"`, ""},
		{"- data", "c.yaml:1:1: a configuration is a mapping; found a list", "a configuration begins with a line such as `data: /var/lib/weft`"},
	} {
		c, err := Parse("c.yaml", "/", []byte(test.src))
		var list yamlfile.Errors
		if c != nil || !errors.As(err, &list) || len(list) != 1 || list[0].Error() != test.want || list[0].Hint != test.hint {
			t.Errorf("%s: got %v\nwant %s\nhint: %s", test.src, err, test.want, test.hint)
		}
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := Parse("c.yaml", "/", []byte("drain: soon\nlimits:\n  runs: none\n  bdy: 1\nfoo: 1\n"))
	var list yamlfile.Errors
	if !errors.As(err, &list) || len(list) != 4 || list[0].Line != 1 || list[3].Line != 5 {
		t.Errorf("got %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.yaml")
	var list yamlfile.Errors
	if _, err := Load(path); !errors.As(err, &list) || !strings.Contains(list[0].Hint, "--print-config") {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(path, []byte("data: d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || c.Data != filepath.Join(dir, "d") {
		t.Errorf("got %+v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte("data: [d]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":1:7: data: want a folder") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.HasPrefix(err.Error(), "load configuration: ") {
		t.Errorf("of a folder: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for line := range strings.Lines(everything) { // short ones: the fuzzer takes minutes to shorten a long one
		f.Add([]byte(strings.TrimSpace(line)))
	}
	f.Add([]byte("grants: {folders: ['/a:ro:rw'], dial: ['[::1]:*', '*.x:1-2']}"))
	f.Add([]byte("limits: {memory: 0.3kB}\ndrain: 1.5ms"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Parse("c.yaml", "/etc", src)
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v, error %v", c, err)
		}
		if err != nil {
			var list yamlfile.Errors
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("error %T %v", err, err)
			}
			return
		}
		written := c.YAML()
		again, err := Parse("c.yaml", "/", written)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, written)
		}
		if string(again.YAML()) != string(written) {
			t.Errorf("got\n%s\nwant\n%s", again.YAML(), written)
		}
	})
}
