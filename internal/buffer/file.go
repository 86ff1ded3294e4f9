package buffer

import "errors"

// Folder holds values as files in one directory.
type Folder struct{ fd int }

// NewFolder uses the directory of descriptor fd, which stays the caller's.
func NewFolder(fd int) *Folder { return &Folder{fd: fd} }

// Put writes data to a new file for key (any string that is unique in the folder, such as attempt and slot).
func (f *Folder) Put(key string, data []byte) (*File, error) { return nil, errors.ErrUnsupported }

// File holds a value in a file of a Folder.
type File struct {
	folder *Folder
	name   string
	size   int64
}

// Size is the number of bytes.
func (f *File) Size() int64 { return f.size }

// Name is the file's name in its folder.
func (f *File) Name() string { return f.name }

// Read opens the file and reads it into p, which must hold Size bytes.
func (f *File) Read(p []byte) (int, error) { return 0, errors.ErrUnsupported }

// Remove deletes the file.
func (f *File) Remove() error { return errors.ErrUnsupported }
