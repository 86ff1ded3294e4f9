package schedext

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// exact resolves calls of functions that the kernel has in several versions, as f and
// f___v2. The library takes what follows three underscores for no part of a name, finds
// several functions then and gives up; so here such a call gets the number of the one that
// is meant, and the library leaves it alone.
func exact(spec *ebpf.CollectionSpec) error {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return err
	}
	for _, p := range spec.Programs {
		for i := range p.Instructions {
			ins := &p.Instructions[i]
			if !ins.IsKfuncCall() {
				continue
			}
			name := ins.Reference()
			var f *btf.Func
			if err := kernel.TypeByName(name, &f); !errors.Is(err, btf.ErrMultipleMatches) {
				continue // found, or missing, which loading it tells
			}
			id, err := number(kernel, name)
			if err != nil {
				return err
			}
			call := asm.Instruction{OpCode: ins.OpCode, Dst: ins.Dst, Src: ins.Src, Constant: int64(id)}
			if symbol := ins.Symbol(); symbol != "" { // the first of a function
				call = btf.WithFuncMetadata(call.WithSymbol(symbol), btf.FuncMetadata(ins))
			}
			*ins = call.WithSource(ins.Source())
		}
	}
	return nil
}

// number is that of the kernel's function with precisely this name.
func number(kernel *btf.Spec, name string) (btf.TypeID, error) {
	types, err := kernel.AnyTypesByName(name)
	if err != nil {
		return 0, err
	}
	for _, t := range types {
		if f, ok := t.(*btf.Func); ok && f.Name == name {
			return kernel.TypeID(f)
		}
	}
	return 0, fmt.Errorf("kernel has no function %s", name)
}
