// SHA-256 of what a descriptor holds, and copies that are hashed while they are made.
#pragma once
#include <cstddef>
#include <functional>
#include <optional>

#include "core/base/digest.hpp"

namespace ripcord {

// From the current offset to the end. nullopt with errno set when reading fails.
std::optional<Digest> hash_file(int fd);
// As far as `size` bytes, which the caller knows the file to have: of many small files, asking each for more costs as much as reading
// it. Calls `after` behind each chunk with its size; when that gives false it ends with nullopt and ECANCELED.
std::optional<Digest> hash_file(int fd, std::uint64_t size, const std::function<bool(std::size_t)>& after);

// Copies all of `from` to the empty file `to`: shares the blocks where the file system can (then hashes what it finds in `to`),
// else reads and writes. The digest is of the bytes now in `to`. nullopt with errno set; `read_failed` tells which side it was.
std::optional<Digest> copy_file(int from, int to, bool& read_failed);

}  // namespace ripcord
