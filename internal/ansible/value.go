package ansible

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Unsafe is a string that Ansible must never take for a template.
type Unsafe string

// AllUnsafe is v with every string in it made Unsafe.
func AllUnsafe(v any) any {
	switch v := v.(type) {
	case string:
		return Unsafe(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = AllUnsafe(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = AllUnsafe(x)
		}
		return out
	}
	return v
}

// HasTemplate tells whether some string in v may be a template.
func HasTemplate(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "{{") || strings.Contains(v, "{%") || strings.Contains(v, "{#")
	case map[string]any:
		for k, x := range v {
			if HasTemplate(k) || HasTemplate(x) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, HasTemplate)
	}
	return false
}

// YAML writes v in the one form that every YAML reader takes the same way: flow style, all strings
// quoted and in ASCII, keys sorted. v holds what JSON can hold, and Unsafe.
func YAML(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := write(&b, v, 0); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func write(b *bytes.Buffer, v any, depth int) error {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case string:
		b.WriteString(strconv.QuoteToASCII(v))
	case Unsafe:
		b.WriteString("!unsafe " + strconv.QuoteToASCII(string(v)))
	case map[string]any:
		return writeMap(b, v, depth)
	case []any:
		b.WriteByte('[')
		for i, x := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			if err := write(b, x, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case bool, int, int64, uint64, float64, json.Number:
		fmt.Fprint(b, jsonScalar(v))
	default:
		plain, err := Plain(v)
		if err != nil {
			return err
		}
		return write(b, plain, depth)
	}
	return nil
}

func writeMap(b *bytes.Buffer, m map[string]any, depth int) error {
	// A line for each of the outer keys, so that people can read the file.
	sep, end := ", ", ""
	if depth < 4 {
		sep = ",\n" + strings.Repeat("  ", depth+1)
		end = "\n" + strings.Repeat("  ", depth)
	}
	b.WriteByte('{')
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteString(sep)
		} else {
			b.WriteString(strings.TrimPrefix(strings.TrimPrefix(sep, ","), " "))
		}
		b.WriteString(strconv.QuoteToASCII(k) + ": ")
		if err := write(b, m[k], depth+1); err != nil {
			return err
		}
	}
	if len(m) > 0 {
		b.WriteString(end)
	}
	b.WriteByte('}')
	return nil
}

// jsonScalar keeps floats apart from integers.
func jsonScalar(v any) string {
	if f, ok := v.(float64); ok {
		if f == float64(int64(f)) && f < 1e15 && f > -1e15 {
			return strconv.FormatInt(int64(f), 10)
		}
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// Plain is v as JSON would bring it back: maps, slices, strings, numbers.
func Plain(v any) (any, error) {
	j, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write %T as a variable: %w", v, err)
	}
	d := json.NewDecoder(bytes.NewReader(j))
	d.UseNumber()
	var out any
	err = d.Decode(&out)
	return out, err
}

// Merge is a with b on top: dictionaries deeply, anything else replaced. Neither is changed.
func Merge(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range b {
		am, aok := out[k].(map[string]any)
		bm, bok := v.(map[string]any)
		if aok && bok {
			v = Merge(am, bm)
		}
		out[k] = v
	}
	return out
}
