package api_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
)

// tooMuch is an archive of 2 MiB that hardly compress.
func tooMuch() []byte {
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tw := tar.NewWriter(zw)
	noise := make([]byte, 2<<20)
	rand.Read(noise)
	tw.WriteHeader(&tar.Header{Name: "files/noise", Mode: 0o600, Size: int64(len(noise))})
	tw.Write(noise)
	tw.Close()
	zw.Close()
	return out.Bytes()
}
