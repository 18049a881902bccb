package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/config"
)

// Read reads the file; relative paths in it are relative to its folder. All problems come as one error, a line each,
// with the line of the file where it has one.
func Read(path string) (*Settings, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	s := &Settings{}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	var errs []error
	var wrong *yaml.TypeError
	switch err := dec.Decode(s); {
	case errors.As(err, &wrong): // the rest was read, and is looked at
		for _, text := range wrong.Errors {
			errs = append(errs, misread(path, text))
		}
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if err := s.Finish(dir); err != nil {
		for line := range strings.Lines(err.Error()) {
			errs = append(errs, fmt.Errorf("%s: %s", path, strings.TrimSuffix(line, "\n")))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

var (
	placed     = regexp.MustCompile(`^line (\d+): (.*)$`)
	unknownKey = regexp.MustCompile(`^field (\S+) not found in type settings\.(\w+)$`)
	otherKind  = regexp.MustCompile("^cannot unmarshal !!(\\w+) (?:`(.*)` )?into (.*)$")
)

// misread says what the YAML package found in the words of whoever wrote the file.
func misread(path, text string) error {
	m := placed.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("%s: %s", path, text)
	}
	line, what := m[1], m[2]
	if m := unknownKey.FindStringSubmatch(what); m != nil {
		known := keys[m[2]]
		what = fmt.Sprintf("there is no key %q here", m[1])
		if near := config.Suggest(m[1], known); near != "" {
			what += "; " + near
		} else if len(known) > 0 {
			what += "; there are " + strings.Join(known, ", ")
		}
	} else if m := otherKind.FindStringSubmatch(what); m != nil {
		got := kinds[m[1]]
		if m[2] != "" {
			got = fmt.Sprintf("%q", m[2])
		}
		what = fmt.Sprintf("%s is here, and %s is wanted", got, wanted(m[3]))
	}
	return fmt.Errorf("%s:%s: %s", path, line, what)
}

var kinds = map[string]string{"seq": "a list", "map": "a table of keys", "str": "text", "int": "a number", "float": "a number", "bool": "yes or no", "null": "nothing"}

func wanted(goType string) string {
	switch {
	case goType == "string":
		return "text"
	case goType == "bool":
		return "true or false"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.Contains(goType, "int"), strings.Contains(goType, "float"):
		return "a number"
	case goType == "time.Duration":
		return "a length of time such as 30s or 12h"
	}
	return "a table of keys"
}

// keys are the keys of each type of the configuration.
var keys = keysOf(reflect.TypeFor[Settings](), map[string][]string{})

func keysOf(t reflect.Type, into map[string][]string) map[string][]string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keysOf(t.Elem(), into)
	case reflect.Struct:
		if _, done := into[t.Name()]; done || t.PkgPath() != reflect.TypeFor[Settings]().PkgPath() {
			return into
		}
		into[t.Name()] = nil
		for i := range t.NumField() {
			f := t.Field(i)
			if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
				into[t.Name()] = append(into[t.Name()], name)
			}
			keysOf(f.Type, into)
		}
	}
	return into
}

// wrong is a value that its type refuses; what stands beside it is read all the same.
func wrong(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: "+format, append([]any{n.Line}, args...)...)}}
}
