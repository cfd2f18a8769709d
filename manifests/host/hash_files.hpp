// SHA-256 of many files of one folder, on several threads, largest first.
#pragma once
#include <string>
#include <vector>

#include "core/base/digest.hpp"
#include "manifests/host/beneath.hpp"
#include "manifests/host/read_pace.hpp"

namespace ripcord {

struct FileToHash {
  std::string path;         // relative to the folder
  std::uint64_t size = 0;   // expected, to share the work out
  // What came of it:
  int error = 0;            // errno, when it could not be read
  Digest digest{};
  struct stat before {}, after {};  // alike: nobody wrote meanwhile, as far as the file system tells
  std::vector<std::string> powers{};  // extended attributes that give a file what its mode does not show
};

// Fills `files` in. `folder` must be a real one (HostFailure). False: the pace's asker lost interest, and the rest was left out.
bool hash_files(const std::string& folder, std::vector<FileToHash>& files, ReadPace& pace);

}  // namespace ripcord
