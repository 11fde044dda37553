package Nightlight::Side;

# Exemplars and metadata for remote_write: messages of 1.0 and 2.0.
#
#   $t->write_pb(series1({ __name__ => 'm' }, [$ms, 1],
#       exemplar1({ trace_id => 'a' }, 0.5, $ms)) . meta1('m', 1, 'Help.', 's'));
#   my $r = send2($t, [{ __name__ => 'm' }, [[$ms, 1]],
#       [[{ trace_id => 'a' }, 0.5, $ms]], [1, 'Help.', 's']], ...);
#
# Types are numbers: 1 counter, 2 gauge, 3 histogram, 5 summary.

use warnings;
use strict;

use Exporter 'import';
use Nightlight::Test;
use Nightlight::Write2;

our @EXPORT_OK = qw(exemplar1 series1 meta1 request2 send2);

# Characters become UTF-8; bytes stay what they are.
sub _bytes { my ($s) = @_; utf8::encode($s) if utf8::is_utf8($s); return $s; }

sub _double { my ($v) = @_; return ref $v ? $$v : pack('d<', $v); }

# ---- 1.0 ----

# An Exemplar as a field of TimeSeries; labels as Test.pm takes them.
sub exemplar1 {
    my ($labels, $v, $t_ms) = @_;
    return Nightlight::Test::field(3, Nightlight::Test::labels_pb($labels)
        . "\x11" . _double($v) . "\x18" . Nightlight::Test::varint($t_ms));
}

sub series1 {
    my ($labels, $sample, @exemplars) = @_;
    return Nightlight::Test::field(1, Nightlight::Test::labels_pb($labels)
        . Nightlight::Test::sample_pb($sample) . join('', @exemplars));
}

# A MetricMetadata as a field of WriteRequest.
sub meta1 {
    my ($name, $type, $help, $unit) = @_;
    return Nightlight::Test::field(3, "\x08" . Nightlight::Test::varint($type)
        . Nightlight::Test::field(2, _bytes($name))
        . Nightlight::Test::field(4, _bytes($help))
        . Nightlight::Test::field(5, _bytes($unit)));
}

# ---- 2.0 ----

# Sends series: [labels, [[t, v], ...], [[labels, v, t], ...],
# [type, help, unit]]; the response.
sub send2 {
    my ($t, @series) = @_;
    return write2($t, request2(@series));
}

sub request2 {
    return request(map {
        my ($labels, $samples, $exemplars, $meta) = @$_;
        { labels => $labels, samples => $samples,
            exemplars => [map { { labels => $_->[0], v => $_->[1],
                t => $_->[2] } } @{$exemplars || []}],
            $meta ? (metadata => { type => $meta->[0], help => $meta->[1],
                unit => $meta->[2] }) : () } } @_);
}

1;
