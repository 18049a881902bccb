package config

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/internal/job"
)

// The implicit types of YAML 1.1 as PyYAML reads them.
var (
	intText   = regexp.MustCompile(`^[-+]?(?:0b[0-1_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$`)
	base60    = regexp.MustCompile(`^[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+$`)
	floatText = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)$`)
	float60   = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*$`)
	infText   = regexp.MustCompile(`^[-+]?\.(?:inf|Inf|INF)$`)
)

// resolveScalar gives a plain scalar its type. Dates stay strings: nothing in the language has one.
func resolveScalar(n *node) {
	s := n.text
	n.kind = kindString
	switch s {
	case "", "~", "null", "Null", "NULL":
		n.kind = kindNull
		return
	case "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		n.kind, n.num = kindBool, 1
		return
	case "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		n.kind = kindBool
		return
	case ".nan", ".NaN", ".NAN":
		n.kind, n.float = kindFloat, math.NaN()
		return
	}
	if c := s[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') {
		return
	}
	plain := strings.ReplaceAll(s, "_", "")
	switch {
	case intText.MatchString(s):
		if v, err := parseInt(plain); err == nil {
			n.kind, n.num = kindInt, v
		} else {
			n.kind = kindFloat
			n.float, _ = strconv.ParseFloat(plain, 64)
		}
	case base60.MatchString(s):
		n.kind, n.num = kindInt, int64(sexagesimal(plain))
	case floatText.MatchString(s):
		n.kind = kindFloat
		n.float, _ = strconv.ParseFloat(plain, 64)
	case float60.MatchString(s):
		n.kind, n.float = kindFloat, sexagesimal(plain)
	case infText.MatchString(s):
		n.kind, n.float = kindFloat, math.Inf(1)
		if s[0] == '-' {
			n.float = math.Inf(-1)
		}
	}
}

func parseInt(s string) (int64, error) {
	sign := ""
	if s[0] == '-' || s[0] == '+' {
		sign, s = s[:1], s[1:]
	}
	base := 10
	switch {
	case strings.HasPrefix(s, "0b"):
		base, s = 2, s[2:]
	case strings.HasPrefix(s, "0x"):
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	return strconv.ParseInt(strings.TrimPrefix(sign, "+")+s, base, 64)
}

// sexagesimal reads 1:30:00, in base 60.
func sexagesimal(s string) float64 {
	neg := strings.HasPrefix(s, "-")
	total := 0.0
	for _, part := range strings.Split(strings.TrimLeft(s, "+-"), ":") {
		v, _ := strconv.ParseFloat(part, 64)
		total = total*60 + v
	}
	if neg {
		return -total
	}
	return total
}

// plain is n as JSON knows it: nil, bool, int64, float64, string, []any, map[string]any. Encrypted
// leaves become the mapping that job.EncryptedKey tells of.
func (n *node) plain() any {
	switch n.kind {
	case kindBool:
		return n.num == 1
	case kindInt:
		return n.num
	case kindFloat:
		if math.IsNaN(n.float) || math.IsInf(n.float, 0) {
			return n.text
		}
		return n.float
	case kindString:
		return n.text
	case kindList:
		out := make([]any, len(n.list))
		for i, v := range n.list {
			out[i] = v.plain()
		}
		return out
	case kindMap:
		out := make(map[string]any, len(n.pairs))
		for _, p := range n.pairs {
			out[p.name] = p.val.plain()
		}
		return out
	case kindEncrypted:
		chunks := make([]any, len(n.list))
		for i, v := range n.list {
			chunks[i] = strings.Join(strings.Fields(v.text), "")
		}
		return map[string]any{job.EncryptedKey: chunks}
	}
	return nil
}
