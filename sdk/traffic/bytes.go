package traffic

import "unsafe"

// Bytes is the memory of records, RecordSize octets each, in this machine's
// byte order: how they travel between processes that run on it.
func Bytes(records []Record) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(records))), len(records)*RecordSize)
}

// FromBytes copies a record out of the octets that Bytes gave; false means
// that they are not those of one record.
func FromBytes(b []byte) (r Record, ok bool) {
	if len(b) != RecordSize {
		return Record{}, false
	}
	one := [1]Record{}
	copy(Bytes(one[:]), b)
	return one[0], true
}
