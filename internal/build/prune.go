package build

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Bounds of the cache. What was used lately stays whatever the size, as a run
// may be about to read it.
const (
	maxCache   = 4 << 30   // bytes of modules
	maxRecords = 10_000    // records, each of some kilobytes
	keepLately = time.Hour // since the last use
	// keepFolder is how long the folder of a function stays after its last use: a fork
	// server may have it open, whose node says now and then that it is used (Use).
	keepFolder = 7 * 24 * time.Hour
)

// prune removes the modules and records that were not used for longest until
// the cache is within its bounds. It runs after a compiler did, whose time hides
// its own.
func prune(cache string, limit int64, now time.Time) {
	removeOldest(filepath.Join(cache, "modules"), now, func(count int, size int64) bool { return size > limit })
	removeOldest(filepath.Join(cache, "records"), now, func(count int, size int64) bool { return count > maxRecords })
}

// pruneFolders removes the folders of functions that nobody uses any longer.
func pruneFolders(dir string, now time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > keepFolder {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// removeOldest removes files of a folder, the one that was not used for
// longest first, as long as there are too many.
func removeOldest(dir string, now time.Time, tooMany func(count int, size int64) bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var files []fs.FileInfo
	total := int64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, info)
			total += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for count := len(files); len(files) > 0 && tooMany(count, total); count-- {
		if now.Sub(files[0].ModTime()) < keepLately {
			return
		}
		_ = os.Remove(filepath.Join(dir, files[0].Name()))
		total -= files[0].Size()
		files = files[1:]
	}
}

// Use says that a folder of Builder.Folder is in use, for another week.
func Use(dir string) { use(dir) }

// use marks a file of the cache as used now.
func use(path string) {
	now := time.Now()
	_ = os.Chtimes(path, now, now)
}
