package executor

import (
	"strconv"
	"strings"
	"time"
)

// busy is the time of all processors in user and system mode, from the first line of /proc/stat.
func busy(stat string) time.Duration {
	line, _, _ := strings.Cut(stat, "\n")
	var ticks int
	for i, f := range strings.Fields(line)[1:] {
		if n, err := strconv.Atoi(f); err == nil && (i == 0 || i == 1 || i == 2) {
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
