#include "manifests/shared/pack.hpp"

#include <zstd.h>

#include <map>
#include <random>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace ripcord;

namespace {

struct Collect : PackReader::Sink {
  std::map<Digest, std::string> objects;
  std::optional<Digest> refuse;
  Digest open;
  std::string now;
  std::uint64_t size = 0;
  void begin(const Digest& digest, std::uint64_t n) override {
    if (refuse == digest) throw Error("nobody asked for this");
    open = digest;
    size = n;
    now.clear();
  }
  void bytes(std::string_view part) override {
    CHECK_FALSE(part.empty());
    now += part;
  }
  void end() override {
    CHECK(now.size() == size);
    objects[open] = now;
  }
};

std::string random_bytes(std::mt19937& random, std::size_t size) {
  std::string bytes(size, '\0');
  bool text = random() % 2;
  for (auto& c : bytes) c = static_cast<char>(text ? 'a' + random() % 4 : random());
  return bytes;
}

std::string packed(const std::vector<std::string>& objects) {
  PackWriter w;
  for (const auto& o : objects) {
    w.begin_object(sha256(o), o.size());
    w.object_bytes(o);
  }
  return w.finish();
}

// What a hostile sender may write: any bytes as one zstd frame.
std::string frame(std::string_view raw, int window_log = 0) {
  ZSTD_CCtx* c = ZSTD_createCCtx();
  if (window_log) ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
  std::string out(ZSTD_compressBound(raw.size()) + 64, '\0');
  ZSTD_inBuffer in{raw.data(), raw.size(), 0};
  ZSTD_outBuffer room{out.data(), out.size(), 0};
  while (ZSTD_compressStream2(c, &room, &in, ZSTD_e_end) != 0) {}
  ZSTD_freeCCtx(c);
  out.resize(room.pos);
  return out;
}

std::string record(const Digest& digest, std::uint64_t size, std::string_view bytes) {
  std::string out(reinterpret_cast<const char*>(digest.bytes.data()), 32);
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift & 0xff));
  return out.append(bytes);
}

std::map<Digest, std::string> read_all(std::string_view pack, std::size_t portion = std::string::npos) {
  Collect sink;
  PackReader reader(sink);
  for (; !pack.empty(); pack.remove_prefix(std::min(portion, pack.size()))) reader.feed(pack.substr(0, portion));
  reader.finish();
  return sink.objects;
}

}  // namespace

TEST_CASE("pack: random objects in random portions come out as they went in") {
  std::mt19937 random(11);
  for (int round = 0; round < 60; ++round) {
    std::map<Digest, std::string> objects;
    for (auto n = random() % 12; n > 0; --n) {
      auto bytes = random_bytes(random, random() % 5 == 0 ? random() % 400000 : random() % 300);
      objects[sha256(bytes)] = bytes;
    }
    PackWriter writer;
    std::string pack;
    for (const auto& [digest, bytes] : objects) {
      writer.begin_object(digest, bytes.size());
      for (std::string_view rest = bytes; !rest.empty();) {
        auto n = std::min<std::size_t>(rest.size(), random() % 70000 + 1);
        writer.object_bytes(rest.substr(0, n));
        rest.remove_prefix(n);
        if (random() % 2) pack += writer.take();
      }
    }
    pack += writer.finish();
    Collect sink;
    PackReader reader(sink);
    for (std::string_view rest = pack; !rest.empty();) {
      auto n = std::min<std::size_t>(rest.size(), random() % 9000 + 1);
      reader.feed(rest.substr(0, n));
      rest.remove_prefix(n);
    }
    reader.finish();
    REQUIRE(sink.objects == objects);
  }
  CHECK(read_all(packed({"a", "", "b"}), 1).size() == 3);
  CHECK(read_all(packed({})).empty());
}

TEST_CASE("pack: take() hands out what was put in without ending the stream, and small objects still compress together") {
  PackWriter writer;
  std::string bytes(300000, 'x'), made;
  writer.begin_object(sha256(bytes), bytes.size());
  writer.object_bytes(std::string_view(bytes).substr(0, 200000));
  made = writer.take();
  Collect sink;
  PackReader reader(sink);
  reader.feed(made);
  CHECK(sink.now.size() == 200000);
  writer.object_bytes(std::string_view(bytes).substr(200000));
  reader.feed(writer.finish());
  reader.finish();
  CHECK(sink.objects.at(sha256(bytes)) == bytes);

  PackWriter often;
  std::size_t total = 0;
  for (int i = 0; i < 500; ++i) {
    std::string text = "the same few words over and over, file " + std::to_string(i) + " of many, the same few words\n";
    often.begin_object(sha256(text), text.size());
    often.object_bytes(text);
    total += often.take().size();
  }
  total += often.finish().size();
  CHECK(total < 500 * 70);  // 32 of each are a digest, which nothing compresses
}

TEST_CASE("pack: damage is an error, wherever it is") {
  auto good = packed({std::string(5000, 'a'), "second", "third"});
  CHECK_THROWS_WITH(read_all(good.substr(0, good.size() - 1)), "the pack is not complete");
  CHECK_THROWS_WITH(read_all(""), "the pack is not complete");
  CHECK_THROWS_WITH(read_all(good + "x"), "the pack is damaged: there are bytes after its end");
  CHECK_THROWS_WITH(read_all(good + good), "the pack is damaged: there are bytes after its end");
  CHECK_THROWS(read_all("not zstd at all"));
  int unnoticed = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    try {
      // A flip may not change what is read (an unused bit of zstd's header); then it must be exactly the original.
      if (read_all(bad) == read_all(good)) ++unnoticed;
      else FAIL("a flip at byte " << i << " was believed");
    } catch (const Error&) {
    }
  }
  CHECK(unnoticed < 4);
}

TEST_CASE("pack: hostile senders") {
  std::string bytes = "content";
  CHECK(read_all(frame(record(sha256(bytes), bytes.size(), bytes))).size() == 1);
  CHECK_THROWS_WITH(read_all(frame(record(sha256("other"), bytes.size(), bytes))),
                    "an object in the pack is not what it says: expected " + sha256("other").hex() + ", found " + sha256(bytes).hex());
  CHECK_THROWS_WITH(read_all(frame(record(sha256(bytes), bytes.size() + 1, bytes))), "the pack is not complete");
  CHECK_THROWS_WITH(read_all(frame(record(sha256(bytes), ~0ull, bytes))), "the pack is not complete");
  CHECK_THROWS_WITH(read_all(frame("short")), "the pack is not complete");
  CHECK_THROWS(read_all(frame(std::string(20 << 20, 'x'), 24)));  // a window of 16 MiB

  Collect sink;
  sink.refuse = sha256(bytes);
  PackReader reader(sink);
  auto pack = packed({bytes});
  CHECK_THROWS_WITH(reader.feed(pack), "nobody asked for this");
  CHECK_THROWS_WITH(reader.feed(pack), "the pack was damaged before");
  CHECK_THROWS_WITH(reader.finish(), "the pack is not complete");
}

TEST_CASE("pack: the writer refuses what would not be readable") {
  PackWriter writer;
  writer.begin_object(sha256("ab"), 2);
  CHECK_THROWS_WITH(writer.object_bytes("abc"), "an object of a pack is longer than was said");
  CHECK_THROWS_WITH(writer.begin_object(sha256("x"), 1), "an object of a pack was not finished");
  CHECK_THROWS_WITH(writer.finish(), "an object of a pack was not finished");
  writer.object_bytes("ab");
  CHECK(read_all(writer.finish()).at(sha256("ab")) == "ab");
}
