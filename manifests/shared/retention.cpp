#include "manifests/shared/retention.hpp"

#include "manifests/shared/message_fields.hpp"

namespace ripcord {

static void fields(auto& f, Of<PruneRequest> auto& r) {
  fields(f, r.unit);
  f.need("now_ms", r.now_ms);
  f.need("keep", r.keep);
  f.need("age_ms", r.age_ms);
  f.need("marked_ms", r.marked_ms);
  f.maybe("pinned", r.pinned);
  f.maybe("dry_run", r.dry_run, false);
}

static void fields(auto& f, Of<PruneItem> auto& i) {
  f.need("kind", i.kind);
  f.need("name", i.name);
  f.need("fate", i.fate);
  f.maybe("why", i.why);
  f.maybe("bytes", i.bytes, 0u);
}

static void fields(auto& f, Of<PruneReply> auto& r) {
  f.maybe("items", r.items);
  f.maybe("free_bytes", r.free_bytes, 0u);
}

static void check(const PruneRequest& r) { check(r.unit); }
static void check(const PruneReply&) {}

json::object to_json(const PruneRequest& v) { return written(v); }
PruneRequest prune_request_from_json(const json::object& o) { return read<PruneRequest>(o); }
json::object to_json(const PruneReply& v) { return written(v); }
PruneReply prune_reply_from_json(const json::object& o) { return read<PruneReply>(o); }

}  // namespace ripcord
