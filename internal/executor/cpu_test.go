package executor

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cpuMeter gives what this process and all that it starts from now on have worked. Where there are no
// control groups that count, it is what the whole machine has worked: nothing else should run then.
func cpuMeter(b *testing.B) func() time.Duration {
	b.Helper()
	const root = "/sys/fs/cgroup/cpuacct"
	dir := filepath.Join(root, fmt.Sprintf("gozer-bench-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return func() time.Duration { return machine(b) }
	}
	b.Cleanup(func() {
		_ = os.WriteFile(filepath.Join(root, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o644)
		_ = os.Remove(dir)
	})
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return func() time.Duration { return machine(b) }
	}
	return func() time.Duration {
		text, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage"))
		if err != nil {
			b.Fatal(err)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		return time.Duration(n)
	}
}

// machine sums the times in which the machine's processors did something, of hundredths of a second.
func machine(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Skip(err)
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var sum int64
	for i, f := range strings.Fields(line) {
		if i == 1 || i == 2 || i == 3 || i == 6 || i == 7 { // user nice system irq softirq
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				b.Skip(err)
			}
			sum += n
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// peak measures by how many megabytes this process grows at most until the function that it gives is called.
func peak(b testing.TB) func() float64 {
	b.Helper()
	high := func(name string) float64 {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == name+":" {
				kb, _ := strconv.Atoi(f[1])
				return float64(kb) / 1024
			}
		}
		return 0
	}
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // forget the peak so far
	before := high("VmRSS")
	return func() float64 { return high("VmHWM") - before }
}
