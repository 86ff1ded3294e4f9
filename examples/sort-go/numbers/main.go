// Command numbers is the functions of the parallel sort in Go. Its argument says which one it is.
package main

import (
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/weft-run/weft"
)

func main() {
	role := ""
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	switch role {
	case "read":
		weft.Handle(read)
	case "sort":
		weft.Handle(sort)
	case "split":
		weft.Handle(split)
	case "merge":
		weft.Handle(merge)
	case "check":
		weft.Handle(check)
	default:
		fmt.Fprintf(os.Stderr, "numbers: unknown function %q\n", role)
		os.Exit(2)
	}
}

// input is what every function is told: which item it is and how many others there are.
type input struct {
	Folder  string `json:"folder"` // of the files part-0, part-1, ...; default /data
	Part    int    `json:"part"`
	Sorters int    `json:"sorters"`
	Mergers int    `json:"mergers"`
}

// count is how many numbers a step handled.
type count struct {
	Numbers int `json:"numbers"`
}

// read publishes the text of a part.
func read(in input) (int, error) {
	if in.Folder == "" {
		in.Folder = "/data"
	}
	f, err := os.Open(fmt.Sprintf("%s/part-%d", in.Folder, in.Part))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	b, err := weft.Alloc(int(info.Size()))
	if err != nil {
		return 0, err
	}
	n := 0
	for n < len(b.Bytes()) {
		k, err := f.Read(b.Bytes()[n:])
		if err != nil {
			return 0, err
		}
		n += k
	}
	if err := b.Publish("text"); err != nil {
		return 0, err
	}
	return n, b.Release()
}

// stride is the distance of the numbers in a sample.
const stride = 512

// sort publishes the numbers of a part in order, and a sample of them.
func sort(in input) (count, error) {
	text, err := weft.Take(fmt.Sprintf("read[%d]/text", in.Part))
	if err != nil {
		return count{}, err
	}
	numbers, err := parse(text.Bytes())
	if err != nil {
		return count{}, fmt.Errorf("part %d: %w", in.Part, err)
	}
	if err := text.Release(); err != nil {
		return count{}, err
	}
	sorted, err := weft.AllocSlice[uint32](len(numbers))
	if err != nil {
		return count{}, err
	}
	radix(numbers, sorted)
	var sample []uint32
	for i := 0; i < len(sorted); i += stride {
		sample = append(sample, sorted[i])
	}
	if err := weft.PutSlice("sorted", sorted); err != nil {
		return count{}, err
	}
	if err := weft.PutSlice("sample", sample); err != nil {
		return count{}, err
	}
	return count{len(sorted)}, weft.Release(sorted)
}

// parse reads decimal numbers between commas and white space.
func parse(text []byte) ([]uint32, error) {
	numbers := make([]uint32, 0, len(text)/8)
	for i := 0; i < len(text); {
		if separates(text[i]) {
			i++
			continue
		}
		n, start := uint64(0), i
		for ; i < len(text) && text[i]-'0' < 10 && n <= math.MaxUint32; i++ {
			n = n*10 + uint64(text[i]-'0')
		}
		if i == start || n > math.MaxUint32 || i < len(text) && !separates(text[i]) {
			return nil, fmt.Errorf("no number below 4294967296 at byte %d", start)
		}
		numbers = append(numbers, uint32(n))
	}
	return numbers, nil
}

func separates(c byte) bool { return c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// radix sorts a into b. Both are overwritten.
func radix(a, b []uint32) {
	var counts [3][2048]int
	for _, x := range a {
		counts[0][x&2047]++
		counts[1][x>>11&2047]++
		counts[2][x>>22]++
	}
	for pass := range counts {
		sum := 0
		for i, n := range counts[pass] {
			counts[pass][i] = sum
			sum += n
		}
		for _, x := range a {
			at := &counts[pass][x>>(11*pass)&2047]
			b[*at] = x
			*at++
		}
		if pass < 2 {
			a, b = b, a
		}
	}
}

// split publishes at which offsets a sorted part is to be cut: one more than there are mergers. All parts are cut at the
// same pivots, which come from the samples of all of them.
func split(in input) (count, error) {
	var samples []uint32
	for i := range in.Sorters {
		sample, err := weft.BorrowSlice[uint32](fmt.Sprintf("sort[%d]/sample", i))
		if err != nil {
			return count{}, err
		}
		samples = append(samples, sample...)
		if err := weft.Release(sample); err != nil {
			return count{}, err
		}
	}
	slices.Sort(samples)
	sorted, err := weft.BorrowSlice[uint32](fmt.Sprintf("sort[%d]/sorted", in.Part))
	if err != nil {
		return count{}, err
	}
	bounds := make([]int64, in.Mergers+1)
	for j := 1; j < in.Mergers && len(samples) > 0; j++ {
		at, _ := slices.BinarySearch(sorted, samples[len(samples)*j/in.Mergers])
		bounds[j] = int64(at)
	}
	bounds[in.Mergers] = int64(len(sorted))
	if err := weft.PutSlice("bounds", bounds); err != nil {
		return count{}, err
	}
	return count{len(sorted)}, weft.Release(sorted)
}

// merge merges one range of all sorted parts.
func merge(in input) (count, error) {
	var runs [][]uint32
	total := 0
	for i := range in.Sorters {
		sorted, err := weft.BorrowSlice[uint32](fmt.Sprintf("sort[%d]/sorted", i))
		if err != nil {
			return count{}, err
		}
		bounds, err := weft.BorrowSlice[int64](fmt.Sprintf("split[%d]/bounds", i))
		if err != nil {
			return count{}, err
		}
		runs = append(runs, sorted[bounds[in.Part]:bounds[in.Part+1]])
		total += len(runs[i])
	}
	merged, err := weft.AllocSlice[uint32](total)
	if err != nil {
		return count{}, err
	}
	// Neighbours are merged in pairs until one is left.
	for len(runs) > 1 {
		to := merged
		if len(runs) > 2 {
			to = make([]uint32, total)
		}
		var longer [][]uint32
		for i := 0; i < len(runs); i += 2 {
			second := []uint32(nil)
			if i+1 < len(runs) {
				second = runs[i+1]
			}
			n := len(runs[i]) + len(second)
			mergeTwo(runs[i], second, to[:n])
			longer = append(longer, to[:n])
			to = to[n:]
		}
		runs = longer
	}
	if in.Sorters == 1 {
		copy(merged, runs[0])
	}
	if err := weft.PutSlice("merged", merged); err != nil {
		return count{}, err
	}
	return count{total}, weft.Release(merged)
}

func mergeTwo(a, b, out []uint32) {
	for len(a) > 0 && len(b) > 0 {
		if b[0] < a[0] {
			out[0], b = b[0], b[1:]
		} else {
			out[0], a = a[0], a[1:]
		}
		out = out[1:]
	}
	copy(out, a)
	copy(out[len(a):], b)
}

// result is what check found.
type result struct {
	Numbers int    `json:"numbers"`
	Least   uint32 `json:"least"`
	Most    uint32 `json:"most"`
	Digest  string `json:"digest"` // FNV-1a of all numbers in order
}

// check checks that the merged parts are sorted, each and from one to the next, and that no number is lost.
func check(in input) (result, error) {
	var out result
	digest := uint64(0xcbf29ce484222325)
	for j := range in.Mergers {
		numbers, err := weft.TakeSlice[uint32](fmt.Sprintf("merge[%d]/merged", j))
		if err != nil {
			return out, err
		}
		for _, x := range numbers {
			if out.Numbers == 0 {
				out.Least = x
			}
			if x < out.Most {
				return out, fmt.Errorf("%d follows %d in part %d", x, out.Most, j)
			}
			out.Most = x
			out.Numbers++
			for k := 0; k < 32; k += 8 {
				digest = (digest ^ uint64(x>>k&255)) * 0x100000001b3
			}
		}
		if err := weft.Release(numbers); err != nil {
			return out, err
		}
	}
	before := int64(0)
	for i := range in.Sorters {
		size, err := weft.Len(fmt.Sprintf("sort[%d]/sorted", i))
		if err != nil {
			return out, err
		}
		before += size / 4
	}
	if int64(out.Numbers) != before {
		return out, fmt.Errorf("%d numbers became %d", before, out.Numbers)
	}
	out.Digest = fmt.Sprintf("%016x", digest)
	return out, nil
}
