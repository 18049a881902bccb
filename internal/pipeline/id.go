package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// id is a new UUID: a hash of the input's seed and a count, so that replaying the same inputs gives the
// same ids. It has the form of a version 8 UUID (RFC 9562: vendor specific).
func (st *stepper) id() string {
	st.ids++
	sum := sha256.Sum256([]byte(st.seed + "\x00" + strconv.Itoa(st.ids)))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
