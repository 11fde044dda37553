package Nightlight::Write2;

# remote_write 2.0 requests by hand.
#
#   my $pb = request(
#       { labels => { __name__ => 'up', job => 'x' }, samples => [[$t, 1.5]],
#         metadata => { type => 2, help => 'Is it up?', unit => '' },
#         exemplars => [{ labels => { trace_id => 'a' }, v => 1, t => $t }],
#         histograms => [{ count => 1, sum => 1, t => $t, ... }] });
#   my $r = write2($t, $pb);                  # the response
#   my @n = written($r);                      # samples, histograms, exemplars
#
# Labels in a hash come in the order of the hash, which is random: senders
# need not sort.  Symbols are numbered as they come, number 0 is "".

use warnings;
use strict;

use Exporter 'import';
use Nightlight::Test;

our @EXPORT = qw(request write2 written histogram_pb %WRITE2_HEADERS);

*field = \&Nightlight::Test::field;
*varint = \&Nightlight::Test::varint;

our %WRITE2_HEADERS = (
    'Content-Encoding' => 'snappy',
    'Content-Type' =>
        'application/x-protobuf;proto=io.prometheus.write.v2.Request',
    'X-Prometheus-Remote-Write-Version' => '2.0.0',
);

sub number { my ($no, $n) = @_; return varint($no << 3) . varint($n) }
sub double { my ($no, $v) = @_;
    return varint($no << 3 | 1) . (ref $v ? $$v : pack('d<', $v)) }
sub zigzag { my ($n) = @_; return $n < 0 ? -2 * $n - 1 : 2 * $n }
sub doubles { my ($no, @v) = @_;
    return @v ? field($no, join '', map { pack('d<', $_) } @v) : '' }
sub deltas { my ($no, @n) = @_;
    return @n ? field($no, join '', map { varint(zigzag($_)) } @n) : '' }
sub spans { my ($no, @s) = @_;
    return join '', map { field($no, number(1, zigzag($_->[0]))
        . number(2, $_->[1])) } @s }

# A Histogram message; keys: count or count_float, sum, schema, threshold,
# zero or zero_float, neg_spans, neg (deltas, or counts of a float one),
# pos_spans, pos, hint, t, custom, start.
sub histogram_pb {
    my ($h) = @_;
    my $float = defined $h->{count_float};
    return ($float ? double(2, $h->{count_float}) : number(1, $h->{count} || 0))
        . double(3, $h->{sum} || 0) . number(4, zigzag($h->{schema} || 0))
        . double(5, $h->{threshold} || 0)
        . ($float ? double(7, $h->{zero_float} || 0)
            : number(6, $h->{zero} || 0))
        . spans(8, @{$h->{neg_spans} || []})
        . ($float ? doubles(10, @{$h->{neg} || []})
            : deltas(9, @{$h->{neg} || []}))
        . spans(11, @{$h->{pos_spans} || []})
        . ($float ? doubles(13, @{$h->{pos} || []})
            : deltas(12, @{$h->{pos} || []}))
        . number(14, $h->{hint} || 0) . number(15, $h->{t})
        . doubles(16, @{$h->{custom} || []})
        . ($h->{start} ? number(17, $h->{start}) : '');
}

sub request {
    my (@series) = @_;
    my @symbols = ('');
    my %ref = ('' => 0);
    my $ref = sub {
        my ($s) = @_;
        utf8::encode($s) if utf8::is_utf8($s);
        $ref{$s} = push(@symbols, $s) - 1 unless exists $ref{$s};
        return $ref{$s};
    };
    my $refs = sub {
        my ($labels) = @_;
        my @pairs = ref $labels eq 'HASH'
            ? map { [$_, $labels->{$_}] } keys %$labels : @{$labels || []};
        my @refs = map { ($ref->($_->[0]), $ref->($_->[1])) } @pairs;
        return @refs ? field(1, join '', map { varint($_) } @refs) : '';
    };
    my $body = '';
    for my $s (@series) {
        my $m = $s->{metadata} || {};
        $body .= field(5, ($s->{refs}
                ? field(1, join '', map { varint($_) } @{$s->{refs}})
                : $refs->($s->{labels}))
            . join('', map { field(2, double(1, $_->[1]) . number(2, $_->[0])
                . ($_->[2] ? number(3, $_->[2]) : '')) } @{$s->{samples}})
            . join('', map { field(3, histogram_pb($_)) } @{$s->{histograms}})
            . join('', map { field(4, $refs->($_->{labels})
                . double(2, $_->{v}) . number(3, $_->{t})) } @{$s->{exemplars}})
            . field(5, ($m->{type} ? number(1, $m->{type}) : '')
                . ($m->{help} ? number(3, $ref->($m->{help})) : '')
                . ($m->{unit} ? number(4, $ref->($m->{unit})) : ''))
            . ($s->{created} ? number(6, $s->{created}) : ''));
    }
    return join('', map { field(4, $_) } @symbols) . $body;
}

# Sends an uncompressed request; the response.
sub write2 {
    my ($t, $pb, %p) = @_;
    return $t->write_pb($pb, %p,
        headers => { %WRITE2_HEADERS, %{$p{headers} || {}} });
}

# What a response says was written: samples, histograms, exemplars; undef for
# a header that is not there.
sub written {
    my ($r) = @_;
    return map { $r->{headers}{"x-prometheus-remote-write-$_-written"} }
        qw(samples histograms exemplars);
}

1;
