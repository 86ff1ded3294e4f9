package trace_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/cpu/sim"
	"github.com/weft-run/weft/internal/cpu/trace"
)

const ms = time.Millisecond

func TestRead(t *testing.T) {
	tests := []struct {
		name string
		in   string
		o    trace.Options
		want []sim.Job
	}{
		{"own CSV, sorted, from 0", "arrival_ms,function,cpu_ms\n20,b,1.5\n10,a,700\n", trace.Options{}, []sim.Job{
			{Function: "a", Class: "long", CPU: 700 * ms}, {Function: "b", Class: "short", Arrival: 10 * ms, CPU: 1500 * time.Microsecond}}},
		{"all columns, in another order", "# a comment\nclass,app,cpu_ms,deadline_ms,function,sleeps,arrival_ms\nx,shop,10,50,a,2+100 7.5+3,0\n", trace.Options{}, []sim.Job{
			{Function: "a", Class: "x", App: "shop", CPU: 10 * ms, Deadline: 50 * ms, Sleeps: []sim.Sleep{{At: 2 * ms, For: 100 * ms}, {At: 7500 * time.Microsecond, For: 3 * ms}}}}},
		{"pace", "arrival_ms,function,cpu_ms\n0,a,0\n100,a,60\n", trace.Options{Pace: 0.5}, []sim.Job{
			{Function: "a", Class: "short", CPU: time.Microsecond}, {Function: "a", Class: "medium", Arrival: 50 * ms, CPU: 60 * ms}}},
		{"ALPS", "1 23 fib 25 5002\n\n2 8 graphMst 20 5009\n", trace.Options{}, []sim.Job{
			{Function: "fib-23", Class: "short", CPU: 2500 * time.Microsecond}, {Function: "graphMst-8", Class: "medium", Arrival: 20 * ms, CPU: 100 * ms}}},
		{"ALPS with own costs", "1 3 work 25 1\n", trace.Options{Cost: func(_ string, n int) (time.Duration, bool) { return time.Duration(n) * ms, true }}, []sim.Job{
			{Function: "work-3", Class: "short", CPU: 3 * ms}}},
		{"Azure 2021, half of it CPU time", "app,func,end_timestamp,duration\naaaaaaaaaaaaaaaa,f,10,0.2\na,g,9.9,0.02\n", trace.Options{Share: 0.5}, []sim.Job{
			{Function: "aaaaaaaaaaaa/f", App: "aaaaaaaaaaaa", Class: "medium", CPU: 100 * ms, Sleeps: []sim.Sleep{{At: 50 * ms, For: 100 * ms}}},
			{Function: "a/g", App: "a", Class: "short", Arrival: 80 * ms, CPU: 10 * ms, Sleeps: []sim.Sleep{{At: 5 * ms, For: 10 * ms}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := trace.Read(strings.NewReader(tt.in), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].Arrival = got[i].Arrival.Round(time.Microsecond)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestWhatIsWrongIsNamedWithItsLine(t *testing.T) {
	tests := []struct {
		name, in string
		o        trace.Options
		want     string
	}{
		{"nothing", "", trace.Options{}, "line 1: it is empty"},
		{"a heading only", "arrival_ms,function,cpu_ms\n", trace.Options{}, "there is no call in it"},
		{"no such column", "arrival_ms,cpu_ms\n0,1\n", trace.Options{}, "line 1: there is no column function"},
		{"a column twice", "arrival_ms,function,cpu_ms,cpu_ms\n0,a,1,1\n", trace.Options{}, `two columns are called "cpu_ms"`},
		{"no number", "arrival_ms,function,cpu_ms\n0,a,1\n0,a,one\n", trace.Options{}, `line 3: cpu_ms is "one"`},
		{"below zero", "arrival_ms,function,cpu_ms\n-1,a,1\n", trace.Options{}, `line 2: arrival_ms is "-1"`},
		{"not finite", "arrival_ms,function,cpu_ms\n0,a,NaN\n", trace.Options{}, `line 2: cpu_ms is "NaN"`},
		{"too great", "arrival_ms,function,cpu_ms\n0,a,1e300\n", trace.Options{}, `line 2: cpu_ms is "1e300"`},
		{"fields are missing", "arrival_ms,function,cpu_ms\n0,a\n", trace.Options{}, "line 2: wrong number of fields"},
		{"sleeps", "arrival_ms,function,cpu_ms,sleeps\n0,a,5,5+1\n", trace.Options{}, "line 2: sleeps after 5ms"},
		{"sleeps without length", "arrival_ms,function,cpu_ms,sleeps\n0,a,5,3\n", trace.Options{}, `line 2: sleeps has "3"`},
		{"a field of ALPS is missing", "1 23 fib 25 5002\n2 23 fib 25\n", trace.Options{}, "line 2: 4 fields"},
		{"no such job", "1 23 dance 25 5002\n", trace.Options{}, `line 1: job "dance" of 23 is not known`},
		{"n of ALPS", "1 x fib 25 5002\n", trace.Options{}, `line 1: n is "x"`},
		{"too many", "1 23 fib 25 1\n2 23 fib 25 1\n", trace.Options{Max: 1}, "line 2: there are more than 1 calls"},
		{"too many rows", "arrival_ms,function,cpu_ms\n0,a,1\n0,a,1\n", trace.Options{Max: 1}, "line 3: there are more than 1 rows"},
		{"a line without end", "arrival_ms,function,cpu_ms\n0," + strings.Repeat("a", trace.MaxLine+1) + ",1\n", trace.Options{}, "line 2: it has more than 65536 bytes"},
		{"one of two files", "HashOwner,HashApp,HashFunction,Trigger,1\n", trace.Options{}, "both are needed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := trace.Read(strings.NewReader(tt.in), tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, trace.ErrFormat) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for _, o := range []trace.Options{{Share: 2}, {Share: math.NaN()}, {Pace: -1}} {
		if _, err := trace.Read(strings.NewReader("1 23 fib 25 1\n"), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

const durations = "HashOwner,HashApp,HashFunction,Average,percentile_Average_0,percentile_Average_1,percentile_Average_25,percentile_Average_50,percentile_Average_75,percentile_Average_99,percentile_Average_100\n" +
	"o,a,f,1,10,10,20,30,40,50,60\n"

func TestReadAzure2019(t *testing.T) {
	counts := "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,1000,400,7\no,a,unknown,http,1,1,1\n"
	read := func(seed uint64) []sim.Job {
		jobs, err := trace.ReadAzure2019(trace.Azure2019{Invocations: strings.NewReader(counts), Durations: strings.NewReader(durations), Minutes: 2}, trace.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return jobs
	}
	jobs := read(1)
	first, half := 0, 0
	for _, j := range jobs {
		if j.Function != "a/f" || j.CPU < 10*ms || j.CPU > 60*ms {
			t.Fatalf("made %+v", j)
		}
		if j.Arrival < time.Minute {
			first++
		}
		if j.CPU <= 30*ms {
			half++
		}
	}
	if len(jobs) != 1400 || first < 1000 || first > 1010 {
		t.Errorf("%d calls, %d in the first minute", len(jobs), first)
	}
	if half < 600 || half > 800 {
		t.Errorf("%d of 1,400 up to the median", half)
	}
	if !reflect.DeepEqual(jobs, read(1)) || reflect.DeepEqual(jobs, read(2)) {
		t.Error("calls do not follow from the seed")
	}
	for in, want := range map[string]string{
		"HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,f,http,1,x\n":              `line 2: minute 2 has "x"`,
		"HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,f,http,9000000000000,x\n":  "line 2: there are more than 1000000 calls",
		"HashOwner,HashApp,HashFunction,Trigger,1\no,a,f,http,1\n":                  "there is no column 2",
		"HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,nobody,http,100,100,100\n": "wrong number of fields",
	} {
		_, err := trace.ReadAzure2019(trace.Azure2019{Invocations: strings.NewReader(in), Durations: strings.NewReader(durations), Minutes: 2}, trace.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := trace.ReadAzure2019(trace.Azure2019{From: 1440, Minutes: 2}, trace.Options{}); err == nil {
		t.Error("a minute 1441 is accepted")
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	for name, mix := range trace.Mixes {
		jobs := mix(trace.Window{Seed: 3, Cores: 2, Load: 1, Length: 5 * time.Second})
		jobs[0].Sleeps = []sim.Sleep{{At: jobs[0].CPU / 2, For: 5 * ms}}
		jobs[0].Deadline, jobs[0].App = 7*ms, `an "app", quoted`
		var b bytes.Buffer
		if err := trace.Write(&b, jobs); err != nil {
			t.Fatal(err)
		}
		back, err := trace.Read(&b, trace.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		first := jobs[0].Arrival
		for i := range jobs {
			jobs[i].Arrival -= first
			off := max(back[i].Arrival-jobs[i].Arrival, jobs[i].Arrival-back[i].Arrival, back[i].CPU-jobs[i].CPU, jobs[i].CPU-back[i].CPU)
			if off > 2 || back[i].Function != jobs[i].Function || back[i].Class != jobs[i].Class || len(back[i].Sleeps) != len(jobs[i].Sleeps) || back[i].App != jobs[i].App {
				t.Fatalf("%s, call %d: wrote %+v, read %+v", name, i, jobs[i], back[i])
			}
		}
	}
}

func TestMixesHaveTheirLoad(t *testing.T) {
	for name, mix := range trace.Mixes {
		for _, arrivals := range []trace.Arrivals{"", trace.Poisson, trace.Even, trace.Bursty, trace.Uniform} {
			w := trace.Window{Seed: 5, Cores: 2, Load: 1.5, Length: 200 * time.Second, Arrivals: arrivals}
			jobs := mix(w)
			if !slices.IsSortedFunc(jobs, func(a, b sim.Job) int { return int(a.Arrival - b.Arrival) }) {
				t.Fatalf("%s, %s: out of order", name, arrivals)
			}
			var work time.Duration
			for _, j := range jobs {
				work += j.CPU
			}
			load := work.Seconds() / 400
			if tolerance := map[bool]float64{true: 0.6, false: 0.1}[name == "heavy-tail"]; math.Abs(load-1.5) > tolerance {
				t.Errorf("%s, %s: load %v", name, arrivals, load)
			}
			if last := jobs[len(jobs)-1].Arrival; last > w.Length || last < w.Length*9/10 {
				t.Errorf("%s, %s: the last comes at %v", name, arrivals, last)
			}
			if again := mix(w); !reflect.DeepEqual(jobs, again) {
				t.Errorf("%s, %s: one seed gives two traces", name, arrivals)
			}
		}
	}
}

// TestArrivalsAreAsTheySay compares the spread of the gaps, by their mean: 1 for a Poisson process, a fifth for the nearly
// regular gaps of ALPS's traces, much more for bursts.
func TestArrivalsAreAsTheySay(t *testing.T) {
	for arrivals, want := range map[trace.Arrivals][2]float64{trace.Poisson: {0.9, 1.1}, trace.Even: {0.18, 0.22}, trace.Bursty: {2, 8}, trace.Uniform: {0.9, 1.1}} {
		jobs := trace.Generate(trace.Window{Seed: 1, Length: 100 * time.Second, Arrivals: arrivals}, []trace.Kind{{Function: "f", Share: 1, Draw: trace.Constant(10 * ms)}})
		var sum, squares float64
		for i := 1; i < len(jobs); i++ {
			gap := (jobs[i].Arrival - jobs[i-1].Arrival).Seconds()
			sum += gap
			squares += gap * gap
		}
		n := float64(len(jobs) - 1)
		if cv := math.Sqrt(squares/n-(sum/n)*(sum/n)) / (sum / n); cv < want[0] || cv > want[1] {
			t.Errorf("%s: coefficient of variation %.2f, want %v", arrivals, cv, want)
		}
	}
}

func TestShortAndLongIsTheMixOfTheExperiments(t *testing.T) {
	jobs := trace.ShortAndLong(trace.Window{Seed: 1, Cores: 2, Load: 2, Length: 4 * time.Second})
	count := map[string]int{}
	for _, j := range jobs {
		count[j.Class]++
		if j.Class == "short" && (j.CPU < ms || j.CPU > 10*ms) || j.Class == "long" && (j.CPU < time.Second || j.CPU > 2*time.Second) {
			t.Errorf("%+v", j)
		}
	}
	if count["short"] < 275 || count["short"] > 300 || count["long"] < 9 || count["long"] > 11 {
		t.Errorf("%v", count)
	}
}

// TestPublishedTraces reads the traces that WEFT_TRACES has, a folder with files of any of the formats.
func TestPublishedTraces(t *testing.T) {
	dir := os.Getenv("WEFT_TRACES")
	if dir == "" {
		t.Skip("WEFT_TRACES names no folder with published traces")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := os.ReadFile(dir + "/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if jobs, err := trace.Read(bytes.NewReader(b), trace.Options{Max: 1 << 24}); err != nil || len(jobs) == 0 {
			t.Errorf("%s: %d calls, %v", e.Name(), len(jobs), err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("arrival_ms,function,cpu_ms,sleeps,deadline_ms\n0,a,5,1+2 3+4,9\n")
	f.Add("1 23 fib 25 5002\n2 8 graphMst 20 5009\n")
	f.Add("app,func,end_timestamp,duration\na,f,1,0.5\n")
	f.Add("\ufeffarrival_ms,function,cpu_ms\n0,\"a\nb\",5\n")
	f.Fuzz(func(t *testing.T, in string) {
		jobs, err := trace.Read(strings.NewReader(in), trace.Options{Max: 50, Share: 0.5})
		if err != nil {
			return
		}
		if len(jobs) == 0 || len(jobs) > 50 {
			t.Fatalf("%d calls", len(jobs))
		}
		if _, err := sim.Sharing(jobs, sim.Options{}); err != nil {
			t.Fatalf("what was read cannot be played: %v", err)
		}
	})
}

func FuzzReadAzure2019(f *testing.F) {
	f.Add("HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,f,http,1,2\n", durations)
	f.Fuzz(func(t *testing.T, counts, durations string) {
		jobs, err := trace.ReadAzure2019(trace.Azure2019{Invocations: strings.NewReader(counts), Durations: strings.NewReader(durations), Minutes: 2}, trace.Options{Max: 100})
		if err == nil && (len(jobs) == 0 || len(jobs) > 100) {
			t.Fatalf("%d calls", len(jobs))
		}
	})
}
