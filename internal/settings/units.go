package settings

import (
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Age is a duration that may be written in days: 30d, 12h, 1h30m.
type Age time.Duration

// UnmarshalYAML reads one.
func (a *Age) UnmarshalYAML(n *yaml.Node) error {
	if days, ok := strings.CutSuffix(n.Value, "d"); ok {
		if d, err := strconv.ParseFloat(days, 64); err == nil && d >= 0 {
			*a = Age(d * 24 * float64(time.Hour))
			return nil
		}
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil || d < 0 {
		return wrong(n, "%q is no length of time such as 30d or 12h", n.Value)
	}
	*a = Age(d)
	return nil
}

// Size is a number of bytes that may be written with a unit of 1,000 or 1,024: 500MB, 20GB, 1GiB.
type Size int64

var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1}, {"", 1}}

// UnmarshalYAML reads one.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(n.Value, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || f < 0 {
			break
		}
		*s = Size(f * float64(u.bytes))
		return nil
	}
	return wrong(n, "%q is no size such as 500MB or 20GB", n.Value)
}
