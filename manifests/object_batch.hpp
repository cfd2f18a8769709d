// Objects on their way into a store: written under temporary names, made durable together, then renamed to their digests.
// Until commit() nothing is visible; without it everything is removed.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/base/digest.hpp"
#include "core/base/files.hpp"

namespace ripcord {

class ObjectBatch {
 public:
  explicit ObjectBatch(std::string store);
  ~ObjectBatch();
  ObjectBatch(const ObjectBatch&) = delete;
  ObjectBatch& operator=(const ObjectBatch&) = delete;

  // begin, write any number of times, end(digest of what was written): the caller has verified it.
  void begin();
  void write(std::string_view bytes);
  void end(const Digest& digest);

  void commit();
  std::size_t size() const { return written_.size(); }

 private:
  std::string store_, folder_;
  Fd file_;
  std::vector<Digest> written_;
  std::string temporary(std::size_t index) const { return folder_ + "/" + std::to_string(index); }
};

std::string object_path(const std::string& store, const Digest& digest);

}  // namespace ripcord
