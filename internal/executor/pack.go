package executor

import (
	"archive/tar"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// packTree adds a folder to an archive, below another name, and gives the size of its files.
func packTree(t *tar.Writer, dir, below string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: path.Join(below, filepath.ToSlash(rel)), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
		switch {
		case e.IsDir():
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, h.Name+"/", 0o755
		case e.Type()&fs.ModeSymlink != 0:
			h.Typeflag = tar.TypeSymlink
			if h.Linkname, err = os.Readlink(file); err != nil {
				return err
			}
		default:
			h.Typeflag, h.Size = tar.TypeReg, info.Size()
			h.Mode |= 0o644
		}
		if err := t.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		n, err := io.Copy(t, f)
		size += n
		return err
	})
	return size, err
}

// packFile adds a file to an archive.
func packFile(t *tar.Writer, name string, text []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := t.Write(text)
	return err
}
