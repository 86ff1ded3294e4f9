// Command pressure makes and reads views that are larger than the memory of the function, while it makes garbage.
package main

import (
	"fmt"

	"github.com/weft-run/weft"
)

func main() {
	weft.Handle(func(in struct {
		Make int `json:"make"` // words to publish; 0: read them
	}) (uint64, error) {
		if in.Make > 0 {
			words, err := weft.AllocSlice[uint64](in.Make)
			if err != nil {
				return 0, err
			}
			for i := range words {
				words[i] = uint64(i)
			}
			return litter(), weft.PutSlice("words", words)
		}
		words, err := weft.TakeSlice[uint64]("make/words")
		if err != nil {
			return 0, err
		}
		litter()
		var sum uint64
		for i, w := range words {
			if w != uint64(i) {
				return 0, fmt.Errorf("word %d is %d", i, w)
			}
			sum += w
		}
		return sum, weft.Release(words)
	})
}

var kept [16][]*[4096]byte

// litter makes 512 MiB of garbage, of which at most 16 MiB live at a time.
func litter() uint64 {
	var n uint64
	for i := range 512 {
		kept[i%16] = nil
		for range 256 {
			kept[i%16] = append(kept[i%16], new([4096]byte))
			n += 4096
		}
	}
	return n
}
