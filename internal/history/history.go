// Package history keeps what buildsets and builds came to, in SQL: SQLite in one file by default,
// PostgreSQL where there is more to keep. Rows are written from the pipeline's Record effects and are
// keyed by UUID, so that writing one twice, or a build before its buildset, is harmless. It answers the
// questions that people ask of the past (builds, buildsets), gives the scheduler its estimates, and the
// pipeline the artifacts that a job requires of an earlier change. It knows nothing of what runs now.
package history

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver of database/sql
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	_ "modernc.org/sqlite" // the "sqlite" driver of database/sql
)

// ErrNotFound: there is no such build or buildset in this tenant.
var ErrNotFound = errors.New("not in the history")

//go:embed migrations
var migrations embed.FS

// Config says where the history is kept.
type Config struct {
	// URL is postgres://... for PostgreSQL; anything else is the path of an SQLite file.
	URL string
	// Timeout bounds one query; 30 seconds where it is zero.
	Timeout time.Duration
	Log     *slog.Logger
}

// DB is an open history. Its methods may be called from many goroutines.
type DB struct {
	sql      *sql.DB
	postgres bool
	timeout  time.Duration
}

// Open connects, and brings the tables to the version that this program writes. Several processes may
// open the same PostgreSQL database at once: one migrates, the others wait for it.
func Open(ctx context.Context, c Config) (*DB, error) {
	d := &DB{timeout: c.Timeout, postgres: isPostgres(c.URL)}
	if d.timeout == 0 {
		d.timeout = 30 * time.Second
	}
	driver, source := "pgx", c.URL
	if !d.postgres {
		driver, source = "sqlite", sqliteSource(c.URL)
	}
	var err error
	if d.sql, err = sql.Open(driver, source); err != nil {
		return nil, fmt.Errorf("open history %s: %w", redact(c.URL), err)
	}
	if err := d.migrate(ctx, c.Log); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate history %s: %w", redact(c.URL), err), d.sql.Close())
	}
	return d, nil
}

// ErrVersion is returned (wrapped) by OpenForReading for tables of another version, or none.
var ErrVersion = errors.New("no history that this program can read")

// OpenForReading connects to a history that may be that of a running server, and never writes to it: tables that
// are older than this program knows them are an error. An SQLite file must be there.
func OpenForReading(ctx context.Context, c Config) (*DB, error) {
	d := &DB{timeout: c.Timeout, postgres: isPostgres(c.URL)}
	if d.timeout == 0 {
		d.timeout = 30 * time.Second
	}
	driver, source := "sqlite", ""
	var err error
	if d.postgres {
		driver, source = "pgx", readOnlyPostgres(c.URL)
	} else if source, err = readOnlySource(c.URL); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	if d.sql, err = sql.Open(driver, source); err != nil {
		return nil, fmt.Errorf("open history %s: %w", redact(c.URL), err)
	}
	if err := d.checkVersion(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("read history %s: %w", redact(c.URL), err), d.sql.Close())
	}
	return d, nil
}

// readOnlySource is an SQLite file that is opened for reading. One that nobody has open is taken as it is, so that
// not even the files for sharing it are made beside it.
func readOnlySource(path string) (string, error) {
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if info.IsDir() {
		return "", fmt.Errorf("%s is a folder", path)
	}
	q := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)", "query_only(1)"}}
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		q.Set("immutable", "1")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath(), RawQuery: q.Encode()}).String(), nil
}

func readOnlyPostgres(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw // the driver says what is wrong with it
	}
	q := u.Query()
	q.Set("default_transaction_read_only", "on")
	u.RawQuery = q.Encode()
	return u.String()
}

// checkVersion compares the version of the tables with the newest that this program knows.
func (d *DB) checkVersion(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	folder := "migrations/sqlite"
	if d.postgres {
		folder = "migrations/postgres"
	}
	files, err := fs.Glob(migrations, folder+"/*.sql")
	if err != nil {
		return err
	}
	var known, is int64
	for _, f := range files {
		v, err := goose.NumericComponent(f)
		if err != nil {
			return err
		}
		known = max(known, v)
	}
	if err := d.sql.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version").Scan(&is); err != nil {
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	if is < known {
		return fmt.Errorf("%w: its tables are of version %d, and of version %d here; a server of this version brings them up to date", ErrVersion, is, known)
	}
	return nil
}

// Close ends the connections.
func (d *DB) Close() error { return d.sql.Close() }

// Ping tells whether the database answers.
func (d *DB) Ping(ctx context.Context) error { return d.sql.PingContext(ctx) }

func isPostgres(u string) bool {
	return strings.HasPrefix(u, "postgres://") || strings.HasPrefix(u, "postgresql://")
}

// sqliteSource adds what every connection needs: readers beside one writer (WAL), waiting instead of
// failing when the file is busy, and write transactions that take their lock at once, so that two of
// them never deadlock.
func sqliteSource(path string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)"}}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func redact(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	return "(an address that is none)"
}

func (d *DB) migrate(ctx context.Context, log *slog.Logger) error {
	dialect, folder := goose.DialectSQLite3, "migrations/sqlite"
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if log != nil {
		opts = append(opts, goose.WithSlog(log))
	}
	if d.postgres {
		dialect, folder = goose.DialectPostgres, "migrations/postgres"
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, d.sql, files, opts...)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// bind writes the placeholders of a query, all of them "?", as the engine wants them.
func (d *DB) bind(q string) string {
	if !d.postgres {
		return q
	}
	var b strings.Builder
	n := 0
	for _, c := range q {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func when(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
