package process

import (
	"os/exec"
	"testing"
)

// numpy finds an interpreter and the folder of the numpy that was installed for
// it, which becomes a layer.
func numpy(t testing.TB) (python, layer string) {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		out, err := exec.Command(python, "-c", "import numpy, os; print(os.path.dirname(os.path.dirname(numpy.__file__)), end='')").Output()
		if err == nil {
			return python, string(out)
		}
	}
	t.Skip("numpy is not installed: apt-get install python3-numpy")
	return "", ""
}

func TestNumpyArraysAreNotCopied(t *testing.T) {
	python, layer := numpy(t)
	p := newPool(t, Options{Python: python})
	m := newMemory(t, 0)
	const common = `
import numpy, weft

def mapped(array):
    "Where the memory of an array comes from, as the kernel says."
    at = array.__array_interface__["data"][0]
    assert at % (2 << 20) == 0         # else nothing could be mapped in huge pages
    for line in open("/proc/self/maps"):
        low, high = (int(x, 16) for x in line.split()[0].split("-"))
        if low <= at and at + array.nbytes <= high:
            return line.split()[5:]
    return None
`
	maker := pythonFunction(t, common+`
def handler(event, context):
    buf = weft.alloc(8 << 20)
    array = weft.array(buf, "f8")
    array[:] = numpy.arange(len(array))
    assert "memfd" in str(mapped(array)), mapped(array)
    weft.put("numbers", buf)
    array[0] = -1                      # is this call's alone by now
    weft.put("small", numpy.ones((2, 3), dtype="f4"))
    return len(array)
`)
	maker.Layers = []string{layer}
	if r := run(t, p, Call{Function: maker, Slots: m.attempt("make"), Log: func(l string) { t.Log(l) }}); r.Failure != nil || string(r.Output) != "1048576" {
		t.Fatalf("%s, %v", r.Output, r.Failure)
	}
	user := pythonFunction(t, common+`
def handler(event, context):
    view = weft.take("make/numbers")
    array = weft.array(view, "f8")
    assert "memfd" in str(mapped(array)), mapped(array)
    assert not array.flags.owndata and numpy.shares_memory(array, numpy.frombuffer(view, "u1"))
    array[1] = 5                       # a private copy of that page
    small = weft.array(weft.take("make/small"), "f4").reshape(2, 3)
    return [float(array[0]), float(array[1]), float(array[-1]), float(small.sum())]
`)
	user.Layers = []string{layer}
	if r := run(t, p, Call{Function: user, Slots: m.attempt("use"), Log: func(l string) { t.Log(l) }}); r.Failure != nil || string(r.Output) != "[0.0,5.0,1048575.0,6.0]" {
		t.Fatalf("%s, %v", r.Output, r.Failure)
	}
}
