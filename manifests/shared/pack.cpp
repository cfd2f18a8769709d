#include "manifests/shared/pack.hpp"

#include <fmt/format.h>
#include <zstd.h>

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/error.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kRecordHeader = 40;      // digest, size
constexpr std::size_t kFlushAfter = 128 << 10; // of input: smaller blocks would cost ratio for nothing
constexpr int kMaxWindowLog = 23;              // 8 MiB

std::size_t checked(std::size_t code, const char* what) {
  if (ZSTD_isError(code)) throw Error(fmt::format("{}: {}", what, ZSTD_getErrorName(code)));
  return code;
}

}  // namespace

struct PackWriter::Impl {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::vector<char> room = std::vector<char>(ZSTD_CStreamOutSize());
  std::string out;
  std::uint64_t left = 0;      // bytes that the open object still needs
  std::size_t unflushed = 0;
  ~Impl() { ZSTD_freeCCtx(context); }

  void compress(std::string_view bytes, ZSTD_EndDirective directive) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (bool more = true; more;) {
      ZSTD_outBuffer made{room.data(), room.size(), 0};
      auto left_inside = checked(ZSTD_compressStream2(context, &made, &in, directive), "cannot compress a pack");
      out.append(room.data(), made.pos);
      more = directive == ZSTD_e_continue ? in.pos < in.size : left_inside > 0;
    }
    unflushed = directive == ZSTD_e_continue ? unflushed + bytes.size() : 0;
  }
};

PackWriter::PackWriter(int level) : impl_(std::make_unique<Impl>()) {
  if (!impl_->context) throw Error("cannot start a compressor: out of memory");
  checked(ZSTD_CCtx_setParameter(impl_->context, ZSTD_c_compressionLevel, level), "cannot set the compression level");
}

PackWriter::~PackWriter() = default;

void PackWriter::begin_object(const Digest& digest, std::uint64_t size) {
  if (impl_->left > 0) throw Error("an object of a pack was not finished");
  std::array<char, kRecordHeader> header;
  for (std::size_t i = 0; i < 32; ++i) header[i] = static_cast<char>(digest.bytes[i]);
  for (std::size_t i = 0; i < 8; ++i) header[32 + i] = static_cast<char>(size >> (56 - 8 * i) & 0xff);
  impl_->left = size;
  impl_->compress({header.data(), header.size()}, ZSTD_e_continue);
}

void PackWriter::object_bytes(std::string_view bytes) {
  if (bytes.size() > impl_->left) throw Error("an object of a pack is longer than was said");
  impl_->left -= bytes.size();
  if (!bytes.empty()) impl_->compress(bytes, ZSTD_e_continue);
}

std::string PackWriter::take() {
  if (impl_->unflushed >= kFlushAfter) impl_->compress({}, ZSTD_e_flush);
  return std::exchange(impl_->out, {});
}

std::string PackWriter::finish() {
  if (impl_->left > 0) throw Error("an object of a pack was not finished");
  impl_->compress({}, ZSTD_e_end);
  return std::exchange(impl_->out, {});
}

struct PackReader::Impl {
  explicit Impl(Sink& s) : sink(s), out(ZSTD_DStreamOutSize()) {}
  ~Impl() { ZSTD_freeDCtx(context); }

  Sink& sink;
  ZSTD_DCtx* context = ZSTD_createDCtx();
  std::vector<char> out;
  std::array<unsigned char, kRecordHeader> header;
  std::size_t header_have = 0;
  std::uint64_t left = 0;
  Digest expected;
  std::optional<Sha256> hash;  // while an object is open
  bool ended = false, failed = false;

  void read(std::string_view bytes) {
    while (!bytes.empty()) {
      if (!hash) {
        auto n = std::min(bytes.size(), kRecordHeader - header_have);
        std::copy_n(bytes.begin(), n, header.begin() + static_cast<std::ptrdiff_t>(header_have));
        header_have += n;
        bytes.remove_prefix(n);
        if (header_have < kRecordHeader) return;
        begin();
      } else {
        auto part = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left)));
        hash->update(part);
        sink.bytes(part);
        left -= part.size();
        bytes.remove_prefix(part.size());
      }
      if (left == 0) end();
    }
  }

  void begin() {
    header_have = 0;
    std::copy_n(header.begin(), 32, expected.bytes.begin());
    left = 0;
    for (std::size_t i = 32; i < kRecordHeader; ++i) left = left << 8 | header[i];
    sink.begin(expected, left);
    hash.emplace();
  }

  void end() {
    auto found = hash->finish();
    hash.reset();
    if (found != expected)
      throw Error(fmt::format("an object in the pack is not what it says: expected {}, found {}", expected.hex(), found.hex()), {},
                  Exit::integrity);
    sink.end();
  }
};

PackReader::PackReader(Sink& sink) : impl_(std::make_unique<Impl>(sink)) {
  if (!impl_->context) throw Error("cannot start a decompressor: out of memory");
  checked(ZSTD_DCtx_setParameter(impl_->context, ZSTD_d_windowLogMax, kMaxWindowLog), "cannot limit the window of a pack");
}

PackReader::~PackReader() = default;

void PackReader::feed(std::string_view compressed) {
  if (impl_->failed) throw Error("the pack was damaged before");
  impl_->failed = true;  // until this call is through
  ZSTD_inBuffer in{compressed.data(), compressed.size(), 0};
  bool full = false;  // the last call filled the output: there may be more inside
  while (in.pos < in.size || full) {
    if (impl_->ended) throw Error("the pack is damaged: there are bytes after its end");
    ZSTD_outBuffer out{impl_->out.data(), impl_->out.size(), 0};
    impl_->ended = checked(ZSTD_decompressStream(impl_->context, &out, &in), "the pack is damaged") == 0;
    impl_->read({impl_->out.data(), out.pos});
    full = !impl_->ended && out.pos == out.size;
  }
  impl_->failed = false;
}

void PackReader::finish() {
  if (impl_->failed || !impl_->ended || impl_->hash || impl_->header_have > 0) throw Error("the pack is not complete");
}

}  // namespace ripcord
