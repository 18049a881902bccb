package knock

import (
	"strings"
	"sync"
	"testing"
)

func TestOutputIsBounded(t *testing.T) {
	o := &Output{Most: 10}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if n, err := o.Write([]byte("abc")); n != 3 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	wg.Wait()
	if kept, whole := o.Bytes(); whole || string(kept) != strings.Repeat("abc", 4)[:10] {
		t.Errorf("%q, whole: %v", kept, whole)
	}
}
