// File systems in image files, mounted where a test's host lies. Writing back is put off as long as the file system allows, so the
// file holds at any moment what a disk would hold after a power cut: what was flushed, and nothing that was only written.
#pragma once
#include <string>

namespace ripcord::test {

enum class FileSystem { ext4, xfs };
const char* to_text(FileSystem kind);

// "" when images of this kind can be made and mounted here; else what is missing.
std::string why_no_images(FileSystem kind);

// From here on this thread's mounts, and those of what it starts, are nobody else's and end with them. Error.
void keep_mounts_private();

// A folder for images: in memory where there is room, so that a flush costs nothing. Removed with what is in it.
class ImageFolder {
 public:
  ImageFolder();
  ~ImageFolder();
  ImageFolder(const ImageFolder&) = delete;
  ImageFolder& operator=(const ImageFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void make_image(FileSystem kind, const std::string& image);
void copy_image(const std::string& from, const std::string& to);  // what the device holds now, also while it is mounted
bool same_image(const std::string& a, const std::string& b);

// ext4 only. A cut in the middle of the flush that lies between two images of one disk: of the blocks that it wrote, some (by the seed)
// reached the disk, and never the journal's commit, which is sent only when all others are known to be there.
void make_torn_image(const std::string& before, const std::string& after, unsigned seed, const std::string& to);

class Mounted {
 public:
  Mounted(FileSystem kind, const std::string& image, std::string where);  // replays the file system's journal. Error
  ~Mounted();
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;

 private:
  std::string where_;
};

}  // namespace ripcord::test
