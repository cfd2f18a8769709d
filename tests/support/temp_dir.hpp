// A folder of a test's own, gone with all that is in it when the test ends.
#pragma once
#include <string>
#include <string_view>

namespace ripcord::test {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  // Writes a file below the folder, with the folders on the way; returns its path.
  std::string write(std::string_view name, std::string_view text, unsigned mode = 0644) const;
  std::string mkdir(std::string_view name) const;
  void link(std::string_view name, std::string_view target) const;

 private:
  std::string path_;
};

}  // namespace ripcord::test
