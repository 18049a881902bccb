package store

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Whatever a sequence becomes, its numbers grow, and as many as can be stay as they were.
func TestOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		had := rapid.SliceOfN(rapid.OneOf(rapid.Just(int64(unplaced)), rapid.Int64Range(-50, 50), rapid.Int64Range(-1<<62, 1<<62)), 0, 40).Draw(t, "had")
		now := ordered(had)
		kept := 0
		for i := range now {
			if i > 0 && now[i] <= now[i-1] {
				t.Fatalf("%v became %v, which does not grow at %d", had, now, i)
			}
			if now[i] == had[i] {
				kept++
			}
		}
		longest := 0
		for _, k := range growing(had) {
			if k {
				longest++
			}
		}
		room := true // between all numbers that stay
		var placed []int64
		for i, k := range growing(had) {
			if k {
				placed = append(placed, had[i])
			}
		}
		for i := 1; i < len(placed); i++ {
			room = room && placed[i]-placed[i-1] > int64(len(had))
		}
		if len(placed) > 0 && (placed[0] < -1<<61 || placed[len(placed)-1] > 1<<61) {
			room = false
		}
		if room && kept < longest {
			t.Fatalf("%v became %v: %d stay, %d could", had, now, kept, longest)
		}
	})
}

// What moves writes itself only.
func TestOrderedIsFrugal(t *testing.T) {
	had := make([]int64, 10_000)
	for i := range had {
		had[i] = unplaced
	}
	had = ordered(had)
	changes := func(next []int64) (n int) {
		for i, order := range ordered(next) {
			if order != next[i] {
				n++
			}
		}
		return n
	}
	for what, next := range map[string][]int64{
		"the last to the front": slices.Concat(had[9999:], had[:9999]),
		"the first to the end":  slices.Concat(had[1:], had[:1]),
		"one in the middle":     slices.Insert(slices.Clone(had), 5000, int64(unplaced)),
		"one at the end":        append(slices.Clone(had), unplaced),
		"one at the front":      slices.Concat([]int64{unplaced}, had),
	} {
		if n := changes(next); n != 1 {
			t.Errorf("%s: %d numbers change, want 1", what, n)
		}
	}
	if n := changes(slices.Delete(slices.Clone(had), 100, 200)); n != 0 {
		t.Errorf("without some: %d numbers change, want none", n)
	}
}

// alike and bare look at every attribute of a queue.
func TestAlike(t *testing.T) {
	for i := range reflect.TypeFor[pipeline.Queue]().NumField() {
		var a, b pipeline.Queue
		field := reflect.TypeFor[pipeline.Queue]().Field(i)
		if !field.IsExported() {
			continue
		}
		name := field.Name
		switch f := reflect.ValueOf(&b).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int:
			f.SetInt(1)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		default:
			t.Fatalf("%s is a %s", name, f.Kind())
		}
		if alike(&a, &b) != (name == "Items") {
			t.Errorf("queues that differ in %s are alike: %v", name, alike(&a, &b))
		}
		if !alike(bare(&b), &b) || bare(&b).Items != nil {
			t.Errorf("a bare queue has another %s", name)
		}
	}
}
