package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
)

// BenchmarkFollowers has readers follow one log over HTTP, each on a connection of its own, and measures
// from the moment when a line is written to the moment when a reader has it.
func BenchmarkFollowers(b *testing.B) {
	for _, readers := range []int{1, 100, 1000} {
		b.Run(strconv.Itoa(readers), func(b *testing.B) { followers(b, readers) })
	}
}

func followers(b *testing.B, readers int) {
	w := newWorld(b)
	log, err := w.logs.Create("b1", nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: readers, MaxIdleConnsPerHost: readers}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var took []time.Duration
	var ready, ended sync.WaitGroup
	read := func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.http.URL+"/api/build/b1/log/stream?from=0", nil)
		if err != nil {
			return err
		}
		r, err := client.Do(req)
		ready.Done()
		if err != nil {
			return err
		}
		defer r.Body.Close()
		var mine []time.Duration
		for d := json.NewDecoder(r.Body); ; {
			var l api.LogLines
			if err := d.Decode(&l); err != nil {
				return err
			}
			now := time.Now()
			for _, line := range l.Lines {
				_, at, _ := strings.Cut(line, " | ")
				if ns, err := strconv.ParseInt(at, 10, 64); err == nil {
					mine = append(mine, now.Sub(time.Unix(0, ns)))
				}
			}
			if l.Done {
				mu.Lock()
				took = append(took, mine...)
				mu.Unlock()
				return nil
			}
		}
	}
	ready.Add(readers)
	for range readers {
		ended.Go(func() {
			if err := read(); err != nil {
				b.Error(err)
			}
		})
	}
	ready.Wait()
	const lines = 30
	for range lines {
		log.Line(fmt.Sprint(time.Now().UnixNano()))
		time.Sleep(100 * time.Millisecond) // ten lines a second, as a task prints
	}
	if err := log.Finish(ctx); err != nil {
		b.Fatal(err)
	}
	ended.Wait()
	if len(took) != lines*readers {
		b.Fatalf("%d readers saw %d of %d lines", readers, len(took), lines*readers)
	}
	slices.Sort(took)
	ms := func(p float64) float64 { return float64(took[int(float64(len(took)-1)*p)].Microseconds()) / 1000 }
	b.ReportMetric(0, "ns/op") // one pass is the measurement, however often it is asked for
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
	b.ReportMetric(ms(1), "max-ms")
}
