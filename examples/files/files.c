// weft:cflags -O2
// Creates, writes, reads, seeks, renames, lists and removes files in a granted folder, and checks what it sees.
#include <weft.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define WANT(condition)                                                                                       \
	do {                                                                                                      \
		if (!(condition)) return weft_fail("line %d: %s: %s", __LINE__, #condition, strerror(errno)); \
	} while (0)

WEFT_FUNCTION(files) {
	static const char line[] = "Written in a sandbox.";
	char text[64];
	struct stat info;
	int fd, n = (int)sizeof line - 1, entries = 0;

	WANT((fd = open("/work/lines.txt", O_CREAT | O_TRUNC | O_RDWR, 0644)) >= 0);
	WANT(write(fd, line, (size_t)n) == n);
	WANT(lseek(fd, 0, SEEK_SET) == 0);
	WANT(read(fd, text, sizeof text) == n && memcmp(text, line, (size_t)n) == 0);
	WANT(read(fd, text, sizeof text) == 0);
	WANT(lseek(fd, -8, SEEK_END) == n - 8);
	WANT(read(fd, text, sizeof text) == 8 && memcmp(text, "sandbox.", 8) == 0);
	WANT(pwrite(fd, "W", 1, 100) == 1);
	WANT(fstat(fd, &info) == 0 && info.st_size == 101);
	WANT(pread(fd, text, 2, 99) == 2 && text[0] == 0 && text[1] == 'W');
	WANT(ftruncate(fd, n) == 0);
	WANT(fstat(fd, &info) == 0 && info.st_size == n);
	WANT(close(fd) == 0);

	WANT((fd = open("/work/lines.txt", O_WRONLY | O_APPEND)) >= 0);
	WANT(write(fd, "\n", 1) == 1 && close(fd) == 0);
	WANT(stat("/work/lines.txt", &info) == 0 && info.st_size == n + 1);

	WANT(mkdir("/work/folder", 0755) == 0);
	WANT(rename("/work/lines.txt", "/work/folder/moved.txt") == 0);
	WANT(open("/work/lines.txt", O_RDONLY) < 0 && errno == ENOENT);
	DIR *folder = opendir("/work/folder");
	WANT(folder != NULL);
	for (struct dirent *d; (d = readdir(folder));)
		if (strcmp(d->d_name, "moved.txt") == 0) entries++;
	closedir(folder);
	WANT(entries == 1);
	WANT(unlink("/work/folder/moved.txt") == 0);
	WANT(rmdir("/work/folder") == 0);
	WANT(open("/work/../outside", O_RDONLY) < 0);
	return weft_return_json("{\"bytes\": %d}", n);
}
