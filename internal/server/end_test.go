package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/config"
)

// waiting is an app whose runs wait, with no functions.
const waiting = "name: waiting\nworkflows: {ask: {steps: {one: {signal: go}}}}\n"

// deploy deploys an app without functions.
func (r *running) deploy(t *testing.T, yaml string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, app.FileName), []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := app.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Collect(a, bundle.Parts{})
	if err != nil {
		t.Fatal(err)
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(b.Write(pw)) }()
	res, err := r.local().Post("http://weft/v1/apps", "application/gzip", pr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 201 {
		t.Fatalf("status %d: %s", res.StatusCode, text)
	}
}

// TestDrain answers who waits, refuses who comes, and ends by itself; runs that
// wait go on in the next life.
func TestDrain(t *testing.T) {
	cfg := settings(t, folder(t))
	r := start(t, cfg)
	r.deploy(t, waiting)
	type answer struct {
		status   int
		location string
		err      error
	}
	answers := make(chan answer, 1)
	go func() {
		res, err := r.local().Post("http://weft/v1/apps/waiting/workflows/ask/runs?wait=1m", "application/json", nil)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		res.Body.Close()
		answers <- answer{res.StatusCode, res.Header.Get("Location"), nil}
	}()
	eventually(t, "the run waits", func() bool {
		_, list, _ := get(r.local(), "http://weft/v1/runs?app=waiting&limit=1", "")
		_, id, _ := strings.Cut(list, `"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		_, text, _ := get(r.local(), "http://weft/v1/runs/"+id, "")
		return strings.Contains(text, `"name":"go"`)
	})
	begun := time.Now()
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > cfg.Drain {
		t.Errorf("draining takes %v", took)
	}
	a := <-answers
	if a.err != nil || a.status != http.StatusAccepted || a.location == "" {
		t.Fatalf("who waited is told %+v", a)
	}
	if _, _, err := get(r.local(), "http://weft/healthz", ""); err == nil {
		t.Error("the server answers after its end")
	}

	r = start(t, cfg)
	res, err := r.local().Post("http://weft"+a.location+"/signals/go", "application/json", strings.NewReader(`"now"`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	eventually(t, "the run goes on", func() bool {
		_, text, _ := get(r.local(), "http://weft"+a.location, "")
		return strings.Contains(text, `"output":"now"`)
	})
}

// TestDrainCutsOff ends requests that take longer than a drain may.
func TestDrainCutsOff(t *testing.T) {
	cfg := settings(t, folder(t))
	cfg.Drain = 100 * time.Millisecond
	r := start(t, cfg)
	pr, pw := io.Pipe()
	defer pw.Close()
	cut := make(chan error, 1)
	go func() {
		res, err := r.local().Post("http://weft/v1/buffers", "application/octet-stream", pr)
		if err == nil {
			res.Body.Close()
		}
		cut <- err
	}()
	if _, err := pw.Write([]byte("begin")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the upload has begun", func() bool {
		found := false
		filepath.WalkDir(filepath.Join(cfg.Data, "buffers"), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				st, err := d.Info()
				found = found || err == nil && st.Size() == int64(len("begin"))
			}
			return nil
		})
		return found
	})
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	pw.Close()
	if err := <-cut; err == nil {
		t.Error("the upload was answered")
	}
	if text := r.log.String(); !strings.Contains(text, "cut off") || strings.Contains(text, "panic") {
		t.Errorf("the log:\n%s", text)
	}
}

// authority makes certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// issue writes a certificate with a serial number, and its key.
func (a *authority) issue(t *testing.T, cfg *config.Config, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cfg.TLS.Cert: {Type: "CERTIFICATE", Bytes: der}, cfg.TLS.Key: {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := folder(t)
	cfg := settings(t, dir)
	cfg.TLS.Cert, cfg.TLS.Key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := begin(t, cfg); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Errorf("without a certificate: %v", err)
	}
	ca := newAuthority(t)
	ca.issue(t, cfg, 7)
	r := start(t, cfg)
	if !strings.HasPrefix(r.addresses[1], "https://") {
		t.Fatalf("addresses: %v", r.addresses)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	for _, http2 := range []bool{false, true} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2}}
		req, err := http.NewRequest("POST", r.addresses[1]+"/v1/buffers", io.LimitReader(zeros{}, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+r.token(t))
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 201 || res.TLS.PeerCertificates[0].SerialNumber.Int64() != 7 || (res.ProtoMajor == 2) != http2 {
			t.Errorf("status %d over %s", res.StatusCode, res.Proto)
		}
		if status, text, err := get(c, r.addresses[1]+"/v1/openapi.json", r.token(t)); status != 200 {
			t.Errorf("status %d, %v: %s", status, err, text)
		}
		c.CloseIdleConnections()
	}
	if _, err := tls.Dial("tcp", strings.TrimPrefix(r.addresses[1], "https://"), &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestCertificateIsReadAgain takes a certificate that has changed, once it is
// whole.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cfg := &config.Config{TLS: config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}}
	ca := newAuthority(t)
	c := &certificate{cert: cfg.TLS.Cert, key: cfg.TLS.Key}
	serial := func() int64 {
		t.Helper()
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return cert.SerialNumber.Int64()
	}
	later := func() {
		c.looked = c.looked.Add(-lookEvery)
		when := time.Now().Add(time.Duration(len(os.Args)) * time.Hour) // in which the clock of the disk has moved
		if c.changed.After(when) {
			when = c.changed.Add(time.Hour)
		}
		os.Chtimes(cfg.TLS.Cert, when, when)
	}
	if _, err := c.get(nil); err == nil {
		t.Error("there is a certificate without files")
	}
	ca.issue(t, cfg, 1)
	if got := serial(); got != 1 {
		t.Errorf("certificate %d, want 1", got)
	}
	ca.issue(t, cfg, 2)
	if got := serial(); got != 1 {
		t.Errorf("at once it is certificate %d, want 1", got)
	}
	later()
	if got := serial(); got != 2 {
		t.Errorf("later it is certificate %d, want 2", got)
	}
	key, err := os.ReadFile(cfg.TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	ca.issue(t, cfg, 3)
	if err := os.WriteFile(cfg.TLS.Key, key, 0o600); err != nil { // the new one is not there yet
		t.Fatal(err)
	}
	later()
	if got := serial(); got != 2 {
		t.Errorf("with another key it is certificate %d, want 2", got)
	}
	os.Remove(cfg.TLS.Cert)
	later()
	if got := serial(); got != 2 {
		t.Errorf("without a file it is certificate %d, want 2", got)
	}
	ca.issue(t, cfg, 4)
	later()
	if got := serial(); got != 4 {
		t.Errorf("at last it is certificate %d, want 4", got)
	}
}

// TestNotify tells systemd.
func TestNotify(t *testing.T) {
	path := filepath.Join(folder(t), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	cfg := settings(t, folder(t))
	r := start(t, cfg)
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 64)
	for _, want := range []string{"READY=1", "STOPPING=1"} {
		l.SetReadDeadline(time.Now().Add(patience))
		n, err := l.Read(text)
		if err != nil || string(text[:n]) != want {
			t.Errorf("systemd is told %q, %v; want %q", text[:n], err, want)
		}
	}
	t.Setenv("NOTIFY_SOCKET", path+".not")
	notify("READY=1") // nobody is there, and nothing happens
	if err := context.Cause(t.Context()); err != nil {
		t.Error(err)
	}
}
