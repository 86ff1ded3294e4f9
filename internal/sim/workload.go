package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/workload"
)

// retention of the runs of every workflow.
const retention = 5000 * time.Hour

// program makes an app with some workflows, by chance.
func program(rng *rand.Rand) *engine.Program {
	o := workload.Options{App: "sim", Functions: map[string]map[string]any{}, Retention: "5000h"}
	fns := map[string]*domain.Function{}
	for _, name := range workload.Functions {
		o.Functions[name] = map[string]any{"source": name + ".wasm"}
		fns[name] = &domain.Function{Name: name, Memory: 1 << 20}
	}
	fns[workload.Send].Dial = []string{"example.org:80"}
	a, err := app.Parse("weft.yaml", workload.File(rng, o))
	if err != nil {
		panic(fmt.Sprintf("sim: %v", err)) // every file that is made is right
	}
	return engine.NewProgram(engine.Program{App: a, Version: "1", Hosts: "1", Functions: fns})
}

// evaluate gives the values of expressions that are jq programs: digests of
// what they see.
func evaluate(expressions []string, scope any) []any {
	values := make([]any, len(expressions))
	for i, e := range expressions {
		values[i] = workload.Digest([]any{e, scope})
	}
	return values
}
