package work

import "math"

// texts are the documents and reviews, and the memory to work on them.
type texts struct {
	documents, reviews [Problems][]byte
	out                []byte
	lexicon            [1 << 8]entry
}

// entry is a word of the lexicon with its weight; mood 0 with a word is a negation.
type entry struct {
	word string
	mood int
}

// mood is what words say: above 0 good, below 0 bad. Those with 0 turn the next around.
var moods = []entry{{"good", 2}, {"great", 3}, {"fine", 1}, {"love", 3}, {"fast", 2}, {"clear", 1}, {"happy", 3}, {"bad", -2}, {"awful", -3}, {"slow", -1},
	{"hate", -3}, {"broken", -2}, {"sad", -2}, {"poor", -1}, {"not", 0}, {"never", 0}, {"hardly", 0}}

// plain are words that say nothing.
var plain = []string{"the", "plot", "camera", "seat", "of", "and", "with", "a", "room", "service", "was", "is", "it", "this", "at", "night", "we", "found", "on", "battery"}

// init writes the texts.
func (t *texts) init() {
	t.out = make([]byte, 0, 16<<10)
	for _, e := range moods {
		i := t.slot([]byte(e.word))
		t.lexicon[i] = e
	}
	for p := range Problems {
		r := random(p + 1)
		word := func() string {
			if n := r.next(len(plain) + len(moods)); n < len(plain) {
				return plain[n]
			} else {
				return moods[n-len(plain)].word
			}
		}
		for range 700 {
			t.reviews[p] = append(append(t.reviews[p], word()...), " .,!"[r.next(12)/9])
			t.reviews[p] = append(t.reviews[p], ' ')
		}
		for range 24 {
			t.documents[p] = document(t.documents[p], &r, word)
		}
	}
}

// document appends a section of Markdown.
func document(d []byte, r *random, word func() string) []byte {
	sentence := func(n int) {
		for i := range n {
			if i > 0 {
				d = append(d, ' ')
			}
			mark := [...]string{"", "", "", "", "*", "**", "`"}[r.next(7)]
			d = append(append(append(d, mark...), word()...), mark...)
		}
		d = append(d, '\n')
	}
	for range 1 + r.next(3) {
		d = append(d, '#')
	}
	d = append(d, ' ')
	sentence(3)
	d = append(d, '\n')
	for range 2 {
		sentence(12)
	}
	d = append(d, '\n')
	for range 3 {
		d = append(d, "- "...)
		sentence(5)
	}
	return append(d, '\n')
}

// render turns a document into HTML and returns its digest.
func (t *texts) render(problem int) uint64 {
	t.out = render(t.out[:0], t.documents[problem])
	return digest(t.out)
}

// render appends the HTML of a text in a small part of Markdown: headings, paragraphs,
// lists with dashes, *emphasis*, **strong**, `code`.
func render(out, text []byte) []byte {
	const (
		none = iota
		paragraph
		list
	)
	block := none
	end := func() {
		switch block {
		case paragraph:
			out = append(out, "</p>\n"...)
		case list:
			out = append(out, "</ul>\n"...)
		}
		block = none
	}
	for len(text) > 0 {
		n := 0
		for n < len(text) && text[n] != '\n' {
			n++
		}
		line := text[:n]
		text = text[min(n+1, len(text)):]
		level := 0
		for level < len(line) && level < 6 && line[level] == '#' {
			level++
		}
		switch {
		case len(line) == 0:
			end()
		case level > 0 && level < len(line) && line[level] == ' ':
			end()
			out = append(append(out, "<h"...), byte('0'+level), '>')
			out = inline(out, line[level+1:])
			out = append(append(out, "</h"...), byte('0'+level), '>', '\n')
		case len(line) > 1 && line[0] == '-' && line[1] == ' ':
			if block != list {
				end()
				out = append(out, "<ul>\n"...)
				block = list
			}
			out = append(out, "<li>"...)
			out = inline(out, line[2:])
			out = append(out, "</li>\n"...)
		default:
			if block != paragraph {
				end()
				out = append(out, "<p>"...)
				block = paragraph
			} else {
				out = append(out, '\n')
			}
			out = inline(out, line)
		}
	}
	end()
	return out
}

// inline appends a line with its emphasis.
func inline(out, line []byte) []byte {
	var em, strong, code bool
	toggle := func(on *bool, open, shut string) {
		if *on = !*on; *on {
			out = append(out, open...)
		} else {
			out = append(out, shut...)
		}
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '`':
			toggle(&code, "<code>", "</code>")
		case c == '*' && !code && i+1 < len(line) && line[i+1] == '*':
			toggle(&strong, "<strong>", "</strong>")
			i++
		case c == '*' && !code:
			toggle(&em, "<em>", "</em>")
		case c == '<':
			out = append(out, "&lt;"...)
		case c == '&':
			out = append(out, "&amp;"...)
		default:
			out = append(out, c)
		}
	}
	return out
}

// slot is where a word of the lexicon is, or where it would be.
func (t *texts) slot(word []byte) int {
	i := int(digest(word) % uint64(len(t.lexicon)))
	for t.lexicon[i].word != "" && t.lexicon[i].word != string(word) {
		i = (i + 1) % len(t.lexicon)
	}
	return i
}

// sentiment weighs the words of a review. A negation turns the next word with a mood
// around; the end of a sentence ends it.
func (t *texts) sentiment(problem int) uint64 {
	score, words, sign, begin := 0, 0, 1, 0
	text := t.reviews[problem]
	for i, c := range text {
		if c >= 'a' && c <= 'z' {
			continue
		}
		if begin < i {
			words++
			if e := &t.lexicon[t.slot(text[begin:i])]; e.word != "" {
				if e.mood == 0 {
					sign = -sign
				} else {
					score += sign * e.mood
					sign = 1
				}
			}
		}
		if c == '.' || c == '!' {
			sign = 1
		}
		begin = i + 1
	}
	return uint64(int64(score))<<20 ^ uint64(words)
}

// signalLength is how many samples a signal has.
const signalLength = 1024

// features describes a signal: mean, variance, crossings of the mean, a histogram and the
// autocorrelation at sixteen lags, in numbers that are exact.
func features(s *[signalLength]float64, problem int) uint64 {
	r := random(problem + 77)
	level, mean := 0, 0.0
	for i := range s {
		level += r.next(21) - 10
		s[i] = float64(level)
		mean += s[i]
	}
	mean = math.Floor(mean / signalLength)
	var variance float64
	var histogram [16]uint64
	crossings := uint64(0)
	for i, x := range s {
		d := x - mean
		variance += float64(d * d)
		histogram[uint64(int64(x))%16]++
		if i > 0 && (s[i-1] < mean) != (x < mean) {
			crossings++
		}
	}
	sum := uint64(int64(mean))*31 + uint64(variance)
	for lag := 1; lag <= 16; lag++ {
		product := 0.0
		for i := lag; i < signalLength; i++ {
			product += float64((s[i] - mean) * (s[i-lag] - mean))
		}
		sum = sum*31 + uint64(int64(product))
	}
	for _, n := range histogram {
		sum = sum*31 + n
	}
	return sum*31 + crossings
}
