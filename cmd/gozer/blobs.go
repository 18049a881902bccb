package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file:// blobs
	_ "gocloud.dev/blob/s3blob"   // s3:// blobs
	"gocloud.dev/gcerrors"
)

// openBlobs opens the blob store, and asks whether it is there. One that does not let us in, or that has no such
// bucket, is a mistake in the configuration; one that does not answer may do so later: logs wait for it.
func (p *process) openBlobs(ctx context.Context) (*blob.Bucket, error) {
	where := p.set.Blobs.URL
	if dir, ok := strings.CutPrefix(where, "file://"); ok {
		dir, _, _ = strings.Cut(dir, "?")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of blobs: %w", err)
		}
	}
	bucket, err := blob.OpenBucket(ctx, blobURL(where))
	if err != nil {
		return nil, fmt.Errorf("open the blob store %s: %w", where, err)
	}
	p.onClose(bucket.Close)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch there, err := bucket.IsAccessible(ctx); {
	case err == nil && !there:
		return nil, fmt.Errorf("the blob store has no bucket %s: make it, or correct blobs.url", where)
	case gcerrors.Code(err) == gcerrors.PermissionDenied || refusedByS3(err):
		return nil, fmt.Errorf("the blob store %s does not let us in: correct the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or a profile): %w", where, err)
	case err != nil:
		p.log.Warn("the blob store does not answer; logs wait until it does", "url", where, "error", err)
	}
	return bucket, nil
}

// refusedByS3 knows the answers to credentials that are wrong, which the library takes for unknown errors.
func refusedByS3(err error) bool {
	if err == nil {
		return false
	}
	for _, code := range []string{"StatusCode: 401", "StatusCode: 403", "SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied", "get credentials"} {
		if strings.Contains(err.Error(), code) {
			return true
		}
	}
	return false
}

// blobURL keeps temporary files of a folder beside its files, so that they can be renamed into place.
func blobURL(u string) string {
	if strings.HasPrefix(u, "file://") && !strings.Contains(u, "?") {
		return u + "?no_tmp_dir=true&metadata=skip"
	}
	return u
}
