package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/gozer-ci/gozer/internal/kv"
)

// maxBlob bounds a blob before compression, so that a damaged record cannot ask for endless memory.
const maxBlob = 256 << 20

// chunk leaves room below kv.MaxValue.
const chunk = 400 << 10

var coders = sync.OnceValue(func() (c struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}) {
	var err, derr error
	c.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	c.dec, derr = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxBlob), zstd.WithDecoderConcurrency(1))
	if err = errors.Join(err, derr); err != nil {
		panic("store: zstd: " + err.Error()) // wrong options: this program is wrong
	}
	return c
})

func blobKey(name string) string { return "/blob/" + name }

// blobIndex stands in the place of a blob that needs several keys.
type blobIndex struct {
	Chunks int `json:"chunks"`
}

// PutBlob keeps data under a name made from its content. Writing it again costs one read.
func (s *Store) PutBlob(ctx context.Context, data []byte) (name string, err error) {
	sum := sha256.Sum256(data)
	name = hex.EncodeToString(sum[:])
	if len(data) > maxBlob {
		return "", fmt.Errorf("keep a blob of %d bytes: the limit is %d: %w", len(data), maxBlob, kv.ErrTooLarge)
	}
	// The blob itself, and beside it whether it is about to be swept.
	r, err := s.kv.Range(ctx, kv.Query{Prefix: blobKey(name), Limit: 2, KeysOnly: true})
	if err != nil {
		return "", fmt.Errorf("look for blob %s: %w", name, err)
	}
	if len(r.KVs) > 0 && r.KVs[0].Key == blobKey(name) {
		if ok, err := s.spared(ctx, r.KVs, blobKey(name)); err != nil || ok {
			return name, err
		}
	}
	value := coders().enc.EncodeAll(data, []byte{packed})
	if len(value) <= chunk {
		_, err = s.Write(ctx, Fence{}, kv.Put(blobKey(name), value))
		return name, err
	}
	// Chunks first: a blob is there when its index is.
	n := 0
	for part := range chunks(value, chunk) {
		if _, err := s.Write(ctx, Fence{}, kv.Put(fmt.Sprintf("%s/%04d", blobKey(name), n), part)); err != nil {
			return "", fmt.Errorf("keep blob %s: %w", name, err)
		}
		n++
	}
	_, err = s.Write(ctx, Fence{}, kv.Put(blobKey(name), append([]byte{'i'}, encode(blobIndex{n})...)))
	return name, err
}

func chunks(b []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := min(size, len(b))
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// Blob reads a blob. ErrNotFound where there is none of that name.
func (s *Store) Blob(ctx context.Context, name string) ([]byte, error) {
	e, ok, err := kv.Get(ctx, s.kv, blobKey(name))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read blob %s: %w", name, err)
	case !ok || len(e.Value) == 0:
		return nil, fmt.Errorf("read blob %s: %w", name, ErrNotFound)
	}
	value := e.Value
	if value[0] == 'i' {
		var ix blobIndex
		if err := json.Unmarshal(value[1:], &ix); err != nil {
			return nil, fmt.Errorf("read the index of blob %s: %w: %w", name, ErrUnreadable, err)
		}
		r, err := s.kv.Range(ctx, kv.Query{Prefix: blobKey(name) + "/"})
		if err != nil {
			return nil, fmt.Errorf("read blob %s: %w", name, err)
		}
		if len(r.KVs) != ix.Chunks {
			return nil, fmt.Errorf("blob %s has %d of its %d chunks: %w", name, len(r.KVs), ix.Chunks, ErrUnreadable)
		}
		parts := make([][]byte, len(r.KVs))
		for i, e := range r.KVs {
			parts[i] = e.Value
		}
		value = bytes.Join(parts, nil)
	}
	data, err := coders().dec.DecodeAll(value[1:], nil)
	if err != nil {
		return nil, fmt.Errorf("unpack blob %s: %w: %w", name, ErrUnreadable, err)
	}
	return data, nil
}

// PutJSON keeps v as a blob.
func (s *Store) PutJSON(ctx context.Context, v any) (name string, err error) {
	return s.PutBlob(ctx, encode(v))
}

// JSON reads a blob into v.
func (s *Store) JSON(ctx context.Context, name string, v any) error {
	data, err := s.Blob(ctx, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode blob %s into %T: %w", name, v, err)
	}
	return nil
}
