// Package pick chooses by chance.
package pick

import (
	"math/rand/v2"
	"sync"

	"github.com/weft-run/weft/service"
)

// Names can be changed by who has them.
var Names = []string{"a"}

// These are changed, handed on, or have elements that can be changed.
var (
	counts = map[string]int{}
	list   = []string{"a"}
	lists  = [][]string{{"a"}}
	rows   = [][]string{{"a"}}
	same   = list
	refs   = []*int{new(int)}
	fixed  = []string{"a"} // fine
)

// Count adds to what there is.
func Count() int { counts["a"]++; return counts["a"] }

// Handed hands a table on.
func Handed() []string { return list }

// Inner has the inside of a table.
func Inner() string { lists[0][0] = "b"; rows := rows[0]; return rows[0] + fixed[0] + same[0] }

// Ref has what a table refers to.
func Ref() *int { return refs[0] }

// First is another one each time.
func First[M ~map[K]V, K comparable, V any](m M) (v V) {
	for _, v = range m {
		return v
	}
	return v
}

// Say calls what its type parameter stands for.
func Say[S interface{ Say() int }](s S) int { return s.Say() }

// Parrot says something.
type Parrot struct{}

// Say is called through a type parameter.
func (Parrot) Say() int { return rand.Int() }

// Shuffled sorts by chance.
type Shuffled []string

func (s Shuffled) Len() int           { return len(s) }
func (s Shuffled) Less(i, j int) bool { return rand.IntN(2) == 0 }
func (s Shuffled) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Loud is printed.
type Loud struct{}

func (Loud) String() string {
	var mu sync.Mutex
	mu.Lock()
	return "loud"
}

// Reset writes state.
func Reset(n *service.Value[int]) { n.Set(0) }
