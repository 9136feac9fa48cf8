#include "common/ps/layout_proto.h"

namespace cssp::ps {
namespace {

template <class Proto>
BlobSpec From(const Proto& proto) {
  BlobSpec blob;
  blob.key = proto.key();
  blob.shape.assign(proto.shape().begin(), proto.shape().end());
  blob.count = proto.count();
  blob.lr_mult = proto.lr_mult();
  blob.decay_mult = proto.decay_mult();
  blob.statistic = proto.statistic();
  blob.moving_average_fraction = proto.moving_average_fraction();
  return blob;
}

template <class Proto>
Proto To(const BlobSpec& blob) {
  Proto proto;
  proto.set_key(blob.key);
  for (int64_t extent : blob.shape) proto.add_shape(extent);
  proto.set_count(blob.count);
  proto.set_lr_mult(blob.lr_mult);
  proto.set_decay_mult(blob.decay_mult);
  proto.set_statistic(blob.statistic);
  proto.set_moving_average_fraction(blob.moving_average_fraction);
  return proto;
}

}  // namespace

BlobSpec FromProto(const control::BlobSpec& proto) { return From(proto); }
control::BlobSpec ToProto(const BlobSpec& blob) {
  return To<control::BlobSpec>(blob);
}
BlobSpec FromProto(const CheckpointBlob& proto) { return From(proto); }
CheckpointBlob ToCheckpointProto(const BlobSpec& blob) {
  return To<CheckpointBlob>(blob);
}

}  // namespace cssp::ps
