package data

import (
	"bufio"
	"context"
	"math"
	"math/rand/v2"
	"strconv"
)

const (
	vocabularyBits = 14
	vocabularySize = 1 << vocabularyBits
	longestWord    = 14
	lineWidth      = 72 // a line ends at the first word that reaches it
	// cancelEvery is how many bytes are written between two looks at the context.
	cancelEvery = 1 << 20
)

// partRandom is the random source of one part. Parts are independent of one another, and so of how many there are before them.
func partRandom(seed uint64, part int) *rand.PCG {
	return rand.NewPCG(seed, uint64(part)+0x9e3779b97f4a7c15)
}

// vocabulary is the words of one seed and the tables to draw from them in constant time, by Walker's alias method: take word i, or with the
// probability that keep[i] leaves, other[i].
type vocabulary struct {
	words [vocabularySize]word
	keep  [vocabularySize]uint32
	other [vocabularySize]uint16
}

// word is padded so that it can be copied with two moves.
type word struct {
	letters [16]byte
	length  uint8
}

// newVocabulary makes distinct pronounceable words, the frequent ones short, and frequencies proportional to 1/(rank+2.7).
func newVocabulary(seed uint64) *vocabulary {
	random := rand.New(rand.NewPCG(seed, 0x766f636162))
	v := new(vocabulary)
	seen := make(map[string]bool, vocabularySize)
	const consonants, vowels = "bcdfghjklmnprstvwz", "aeiou"
	for i := range v.words {
		for {
			syllables := 1 + random.IntN(1+bitLength(i)/4)
			var w []byte
			for range syllables {
				w = append(w, consonants[random.IntN(len(consonants))], vowels[random.IntN(len(vowels))])
				if random.IntN(3) == 0 {
					w = append(w, consonants[random.IntN(len(consonants))])
				}
			}
			if len(w) > longestWord || seen[string(w)] {
				continue
			}
			seen[string(w)] = true
			copy(v.words[i].letters[:], w)
			v.words[i].length = uint8(len(w))
			break
		}
	}
	v.weigh()
	return v
}

// bitLength is how many doublings lead from 1 to beyond i.
func bitLength(i int) int {
	n := 0
	for ; i > 0; i >>= 1 {
		n++
	}
	return n
}

// weigh fills the alias tables.
func (v *vocabulary) weigh() {
	weights := make([]float64, vocabularySize)
	sum := 0.0
	for i := range weights {
		weights[i] = 1 / (float64(i) + 2.7)
		sum += weights[i]
	}
	var small, large []int
	for i := range weights {
		weights[i] *= vocabularySize / sum
		if weights[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		v.keep[s] = uint32(weights[s] * math.MaxUint32)
		v.other[s] = uint16(l)
		weights[l] -= 1 - weights[s]
		if weights[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		v.keep[i], v.other[i] = math.MaxUint32, uint16(i)
	}
}

// writeText writes size bytes of text. Its last word is whole: what is left of the last line is spaces and a newline.
func writeText(ctx context.Context, w *bufio.Writer, seed uint64, part int, size int64) error {
	v := newVocabulary(seed)
	random := partRandom(seed, part)
	line := make([]byte, 0, 2*lineWidth)
	sentence := true // the next word begins one
	for unchecked := 0; ; {
		line = line[:0]
		for len(line) < lineWidth {
			r := random.Uint64()
			i := r & (vocabularySize - 1)
			if uint32(r>>vocabularyBits) > v.keep[i] {
				i = uint64(v.other[i])
			}
			r >>= vocabularyBits + 32
			if len(line) > 0 {
				line = append(line, ' ')
			}
			at := len(line)
			line = append(line, v.words[i].letters[:]...)[:at+int(v.words[i].length)]
			if sentence || r&31 == 0 {
				line[at] -= 'a' - 'A'
			}
			sentence = false
			switch r >> 5 & 15 {
			case 0:
				line = append(line, '.')
				sentence = true
			case 1:
				line = append(line, ',')
			}
		}
		line = append(line, '\n')
		if int64(len(line)) > size {
			return writeLastLine(w, line[:size])
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		size -= int64(len(line))
		if unchecked += len(line); unchecked >= cancelEvery {
			unchecked = 0
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
}

// writeLastLine writes line with its cut last word blanked out and its last byte, if any, a newline.
func writeLastLine(w *bufio.Writer, line []byte) error {
	if len(line) == 0 {
		return nil
	}
	for i := len(line) - 1; i >= 0 && line[i] != ' '; i-- {
		line[i] = ' '
	}
	line[len(line)-1] = '\n'
	_, err := w.Write(line)
	return err
}

// writeIntegers writes size bytes of decimal numbers with a comma between each two and none at the end. The last one or two numbers have as
// many digits as there is room for.
func writeIntegers(ctx context.Context, w *bufio.Writer, seed uint64, part int, size int64) error {
	random := partRandom(seed, part)
	const longestNumber = len("4294967295")
	var text [longestNumber + 1]byte
	for unchecked := 0; size > 2*int64(longestNumber)+1; {
		b := append(strconv.AppendUint(text[:0], random.Uint64()>>32, 10), ',')
		if _, err := w.Write(b); err != nil {
			return err
		}
		size -= int64(len(b))
		if unchecked += len(b); unchecked >= cancelEvery {
			unchecked = 0
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	rest := int(size)
	if rest > longestNumber {
		// Two numbers, neither of them empty nor of more than ten digits.
		first := min(rest-2, longestNumber)
		if _, err := w.Write(append(digits(random, first), ',')); err != nil {
			return err
		}
		rest -= first + 1
	}
	_, err := w.Write(digits(random, rest))
	return err
}

// digits is a number of exactly n digits, at most ten, that fits in 32 bits.
func digits(random *rand.PCG, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0' + byte(random.Uint64()%10)
	}
	if n > 1 || b[0] == '0' {
		b[0] = '1' + byte(random.Uint64()%3)
	}
	return b
}
