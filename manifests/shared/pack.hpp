// Objects in transit: those a host lacks, by digest, zstd-compressed once and sent to many. A pack has no paths in it.
// Format (docs/protocol.md): one zstd stream of records: 32 bytes digest, 8 bytes big-endian size, that many bytes.
// The reader verifies each object's digest while it passes, and refuses objects nobody asked for.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/digest.hpp"

namespace ripcord {

class PackWriter {
 public:
  explicit PackWriter(int level = 3);
  ~PackWriter();
  void begin_object(const Digest& digest, std::uint64_t size);
  void object_bytes(std::string_view bytes);
  std::string take();    // compressed bytes made so far
  std::string finish();  // the rest

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Feed compressed bytes; the sink sees begin(digest, size) -> bytes... -> end() for each object, digest already verified at
// end(). Error on a damaged stream, a wrong digest, or a window over 8 MiB.
class PackReader {
 public:
  struct Sink {
    virtual ~Sink() = default;
    virtual void begin(const Digest& digest, std::uint64_t size) = 0;
    virtual void bytes(std::string_view part) = 0;
    virtual void end() = 0;
  };
  explicit PackReader(Sink& sink);
  ~PackReader();
  void feed(std::string_view compressed);
  void finish();  // Error if the stream is not complete

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ripcord
