package history

import "testing"

// Counts is how many rows each table has.
func (d *DB) Counts(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, table := range []string{"buildset", "buildset_ref", "build", "artifact", "provides", "ref"} {
		var n int
		if err := d.sql.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		out[table] = n
	}
	return out
}
