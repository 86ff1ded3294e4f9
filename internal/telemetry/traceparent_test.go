package telemetry_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/telemetry"
)

const (
	someTrace = "0af7651916cd43dd8448eb211c80319c"
	someSpan  = "b7ad6b7169203331"
)

func TestParseTraceparent(t *testing.T) {
	tests := []struct {
		name, header string
		want         string // as it is written; empty: an error
	}{
		{"sampled", "00-" + someTrace + "-" + someSpan + "-01", "00-" + someTrace + "-" + someSpan + "-01"},
		{"not sampled", "00-" + someTrace + "-" + someSpan + "-00", "00-" + someTrace + "-" + someSpan + "-00"},
		{"random", "00-" + someTrace + "-" + someSpan + "-03", "00-" + someTrace + "-" + someSpan + "-03"},
		{"unknown flags", "00-" + someTrace + "-" + someSpan + "-fd", "00-" + someTrace + "-" + someSpan + "-01"},
		{"later version", "cc-" + someTrace + "-" + someSpan + "-01", "00-" + someTrace + "-" + someSpan + "-01"},
		{"later version with more", "cc-" + someTrace + "-" + someSpan + "-01-what-comes", "00-" + someTrace + "-" + someSpan + "-01"},
		{"later version with more, not apart", "cc-" + someTrace + "-" + someSpan + "-01.what-comes", ""},
		{"version 00 with more", "00-" + someTrace + "-" + someSpan + "-01-what", ""},
		{"version ff", "ff-" + someTrace + "-" + someSpan + "-01", ""},
		{"upper case", "00-" + strings.ToUpper(someTrace) + "-" + someSpan + "-01", ""},
		{"trace of zeros", "00-" + strings.Repeat("0", 32) + "-" + someSpan + "-01", ""},
		{"span of zeros", "00-" + someTrace + "-" + strings.Repeat("0", 16) + "-01", ""},
		{"short trace", "00-" + someTrace[1:] + "-" + someSpan + "-01", ""},
		{"no digits", "00-" + someTrace[1:] + "x-" + someSpan + "-01", ""},
		{"version without digits", "0x-" + someTrace + "-" + someSpan + "-01", ""},
		{"no dash", "00-" + someTrace + "0" + someSpan + "-01", ""},
		{"space", " 00-" + someTrace + "-" + someSpan + "-01", ""},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := telemetry.ParseTraceparent(tt.header)
			if tt.want == "" {
				if !errors.Is(err, telemetry.ErrTraceparent) || p != (telemetry.Traceparent{}) {
					t.Fatalf("parsed to %v, %v", p, err)
				}
				return
			}
			if err != nil || p.String() != tt.want {
				t.Fatalf("%v, %v, want %s", p, err, tt.want)
			}
			if p.Sampled() != (tt.want[54]&1 == 1) {
				t.Errorf("sampled %v", p.Sampled())
			}
		})
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add("00-" + someTrace + "-" + someSpan + "-01")
	f.Add("cc-" + someTrace + "-" + someSpan + "-ff-more")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := telemetry.ParseTraceparent(s)
		if err != nil {
			return
		}
		again, err := telemetry.ParseTraceparent(p.String())
		p.Flags &= telemetry.FlagSampled | telemetry.FlagRandom
		if err != nil || again != p {
			t.Fatalf("%q became %v, and that %v, %v", s, p, again, err)
		}
		if !strings.HasPrefix(s[3:], p.String()[3:52]) {
			t.Fatalf("%q became %v", s, p)
		}
	})
}
