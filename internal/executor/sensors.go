package executor

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sensors say when an executor takes no further builds. Those that run go on.
type Sensors struct {
	// Load is the load average for each processor above which none are taken; 0 is no bound.
	Load float64
	// Disk, Inodes and Memory are the hundredths that must be free; 0 is 5, negative no bound.
	Disk, Inodes, Memory float64
}

// refuses says why no build is to be taken now; empty: nothing speaks against it.
func (s Sensors) refuses(dir string) string {
	if load, err := loadAverage(); err == nil && s.Load > 0 && load > s.Load*float64(runtime.NumCPU()) {
		return fmt.Sprintf("the load of %.1f is above %.1f", load, s.Load*float64(runtime.NumCPU()))
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil {
		if free := percent(fs.Bavail, fs.Blocks); free < bound(s.Disk) {
			return fmt.Sprintf("%.1f %% of the disk of %s are free, less than %.1f %%", free, dir, bound(s.Disk))
		}
		if free := percent(fs.Ffree, fs.Files); free < bound(s.Inodes) {
			return fmt.Sprintf("%.1f %% of the inodes of %s are free, less than %.1f %%", free, dir, bound(s.Inodes))
		}
	}
	if free, err := freeMemory(); err == nil && free < bound(s.Memory) {
		return fmt.Sprintf("%.1f %% of the memory are available, less than %.1f %%", free, bound(s.Memory))
	}
	return ""
}

func bound(v float64) float64 {
	if v == 0 {
		return 5
	}
	return v
}

// percent is 100 where nothing is counted, as file systems do that have no fixed number of inodes.
func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 100
	}
	return float64(part) / float64(whole) * 100
}

func loadAverage() (float64, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), " ")
	return strconv.ParseFloat(first, 64)
}

// freeMemory is what programs can still have of this machine's memory, in hundredths.
func freeMemory() (float64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	got := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); len(f) > 0 {
			got[name], _ = strconv.ParseUint(f[0], 10, 64)
		}
	}
	if got["MemTotal"] == 0 {
		return 0, fmt.Errorf("/proc/meminfo has no MemTotal")
	}
	return percent(got["MemAvailable"], got["MemTotal"]), nil
}
