package pipeline

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// tagged is how inputs and effects are written down: the name of the type, then the value.
type tagged struct {
	Type string          `json:"type"`
	Body json.RawMessage `json:"body"`
}

var inputTypes = byName[Input](
	(*Trigger)(nil), (*Enqueue)(nil), (*Refresh)(nil), (*Dequeue)(nil), (*Promote)(nil), (*Pause)(nil),
	(*Reconfigure)(nil), (*Wake)(nil), (*Merged)(nil), (*Configured)(nil), (*RepoStated)(nil),
	(*NodesReady)(nil), (*BuildStarted)(nil), (*BuildPaused)(nil), (*BuildFailing)(nil),
	(*BuildEnded)(nil), (*Reported)(nil), (*Provided)(nil), (*Estimated)(nil), (*HazardsFound)(nil),
)

var effectTypes = byName[Effect](
	(*Merge)(nil), (*Configure)(nil), (*RepoState)(nil), (*RequestNodes)(nil), (*Reprioritize)(nil),
	(*ReturnNodes)(nil), (*Start)(nil), (*Cancel)(nil), (*Resume)(nil), (*Report)(nil), (*Record)(nil),
	(*Refetch)(nil), (*Requeue)(nil), (*FindArtifacts)(nil), (*FindEstimates)(nil), (*Emit)(nil), (*Supersede)(nil), (*Released)(nil), (*DropView)(nil), (*FindHazards)(nil),
)

func byName[T any](all ...T) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for _, v := range all {
		t := reflect.TypeOf(v).Elem()
		m[t.Name()] = t
	}
	return m
}

// MarshalInput writes an input down so that UnmarshalInput reads an equal one.
func MarshalInput(in Input) ([]byte, error) { return marshal(inputTypes, in) }

// UnmarshalInput reads what MarshalInput wrote; an unknown type is an error.
func UnmarshalInput(data []byte) (Input, error) { return unmarshal[Input](inputTypes, data) }

// MarshalEffect writes an effect down so that UnmarshalEffect reads an equal one.
func MarshalEffect(e Effect) ([]byte, error) { return marshal(effectTypes, e) }

// UnmarshalEffect reads what MarshalEffect wrote; an unknown type is an error.
func UnmarshalEffect(data []byte) (Effect, error) { return unmarshal[Effect](effectTypes, data) }

func marshal(types map[string]reflect.Type, v any) ([]byte, error) {
	name := reflect.TypeOf(v).Elem().Name()
	if types[name] == nil {
		return nil, fmt.Errorf("%T is not registered in the codec", v)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(tagged{name, body})
}

func unmarshal[T any](types map[string]reflect.Type, data []byte) (v T, err error) {
	var t tagged
	if err := json.Unmarshal(data, &t); err != nil {
		return v, err
	}
	typ := types[t.Type]
	if typ == nil {
		return v, fmt.Errorf("unknown type %q", t.Type)
	}
	p := reflect.New(typ)
	if err := json.Unmarshal(t.Body, p.Interface()); err != nil {
		return v, fmt.Errorf("%s: %w", t.Type, err)
	}
	return p.Interface().(T), nil
}
