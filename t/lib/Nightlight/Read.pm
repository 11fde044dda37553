package Nightlight::Read;

# remote_read: requests and answers, decoded in full.
#
#   my $pb = request([[ $start, $end, ['=', 'job', 'x'], ... ]], types => [1]);
#   my $r = $t->http('POST', '/api/v1/read', body => snappy($pb), ...);
#   my $results = samples($r->{body});     # of a SAMPLES answer
#   my $results = chunks($r->{body});      # of a STREAMED_XOR_CHUNKS answer
#
# Results are a list with one element a query: a list of series in the order
# in which they came, each { labels => [[name, value], ...], samples =>
# [[t, bits], ...] }.  A value is its eight bytes as a number, so that NaN are
# compared, too.  What is malformed dies.

use warnings;
use strict;

use Exporter 'import';

use Nightlight::Test;

our @EXPORT_OK = qw(request samples chunks frames unsnappy crc32c text);

*varint = \&Nightlight::Test::varint;
*field = \&Nightlight::Test::field;

my %OP = ('=' => 0, '!=' => 1, '=~' => 2, '!~' => 3);

# Queries: [start, end, matchers..., { hints }]; hints by name.
sub request {
    my ($queries, %p) = @_;
    my $pb = '';
    for my $q (@$queries) {
        my ($start, $end, @rest) = @$q;
        my $m = "\x08" . varint($start) . "\x10" . varint($end);
        for my $r (@rest) {
            if (ref $r eq 'HASH') {
                my $h = '';
                $h .= "\x08" . varint($r->{step}) if defined $r->{step};
                $h .= field(2, $r->{func}) if defined $r->{func};
                $h .= "\x18" . varint($r->{start}) if defined $r->{start};
                $h .= "\x20" . varint($r->{end}) if defined $r->{end};
                $h .= field(5, $_) for @{$r->{grouping} || []};
                $h .= "\x30\x01" if $r->{by};
                $h .= "\x38" . varint($r->{range}) if defined $r->{range};
                $m .= field(4, $h);
                next;
            }
            my ($op, @pair) = @$r;
            my $type = exists $OP{$op} ? $OP{$op} : $op;
            utf8::encode($_) for @pair;
            $m .= field(3, "\x08" . varint($type) . field(2, $pair[0])
                . field(3, $pair[1]));
        }
        $pb .= field(1, $m);
    }
    my @types = @{$p{types} || []};
    return $pb . join '', map { "\x10" . varint($_) } @types if $p{unpacked};
    return $pb . (@types ? field(2, join '', map { varint($_) } @types) : '');
}

# ---- protobuf ----

sub _uvarint {
    my ($s, $at) = @_;
    my ($v, $shift) = (0, 0);
    while (1) {
        die "varint cut off\n" if $$at >= length $$s;
        my $b = ord substr $$s, $$at++, 1;
        $v |= ($b & 0x7f) << $shift;
        return $v if $b < 0x80;
        $shift += 7;
        die "varint too long\n" if $shift > 63;
    }
}

sub _signed { my ($v) = @_; return unpack 'q', pack 'Q', $v }

# Fields of a message: [number, value]; numbers of fixed64 as they are.
sub _fields {
    my ($s) = @_;
    my @f;
    my $at = 0;
    while ($at < length $s) {
        my $tag = _uvarint(\$s, \$at);
        my ($no, $type) = ($tag >> 3, $tag & 7);
        if ($type == 0) {
            push @f, [$no, _uvarint(\$s, \$at)];
            next;
        }
        my $n = $type == 1 ? 8 : $type == 2 ? _uvarint(\$s, \$at)
            : die "wire type $type\n";
        die "field cut off\n" if $n > length($s) - $at;
        push @f, [$no, substr $s, $at, $n];
        $at += $n;
    }
    return @f;
}

sub _label {
    my ($s) = @_;
    my %f = map { $_->[0] => $_->[1] } _fields($s);
    return [map { defined $f{$_} ? $f{$_} : '' } 1, 2];
}

# ---- snappy block format ----

sub unsnappy {
    my ($s) = @_;
    my $at = 0;
    my $n = _uvarint(\$s, \$at);
    my $out = '';
    while ($at < length $s) {
        my $tag = ord substr $s, $at++, 1;
        my $kind = $tag & 3;
        if ($kind == 0) {
            my $len = $tag >> 2;
            if ($len >= 60) {
                my $k = $len - 59;
                $len = unpack 'V', substr($s, $at, $k) . "\0\0\0\0";
                $at += $k;
            }
            $len++;
            die "literal cut off\n" if $len > length($s) - $at;
            $out .= substr $s, $at, $len;
            $at += $len;
            next;
        }
        my ($len, $off);
        if ($kind == 1) {
            $len = 4 + ($tag >> 2 & 7);
            $off = ($tag >> 5) << 8 | ord substr $s, $at, 1;
            $at++;
        } else {
            my $k = $kind == 2 ? 2 : 4;
            $len = 1 + ($tag >> 2);
            $off = unpack 'V', substr($s, $at, $k) . "\0\0\0\0";
            $at += $k;
        }
        die "copy from nowhere\n" if !$off || $off > length $out;
        while ($len > 0) {
            my $k = $len < $off ? $len : $off;
            $out .= substr $out, length($out) - $off, $k;
            $len -= $k;
        }
    }
    die "snappy: " . length($out) . " bytes, not $n\n" if length $out != $n;
    return $out;
}

# ---- answers ----

# A list of results; raw: message that is not compressed.
sub samples {
    my ($body) = @_;
    my @results;
    for my $r (_fields(unsnappy($body))) {
        my @series;
        for my $s (_fields($r->[1])) {
            my (@labels, @samples);
            for my $f (_fields($s->[1])) {
                if ($f->[0] == 1) {
                    push @labels, _label($f->[1]);
                } elsif ($f->[0] == 2) {
                    my %f = map { $_->[0] => $_->[1] } _fields($f->[1]);
                    push @samples, [_signed($f{2} || 0),
                        defined $f{1} ? unpack('Q<', $f{1}) : 0];
                }
            }
            push @series, { labels => \@labels, samples => \@samples };
        }
        push @results, \@series;
    }
    return \@results;
}

my @crc;

sub crc32c {
    my ($s) = @_;
    if (!@crc) {
        for my $i (0 .. 255) {
            my $c = $i;
            $c = $c & 1 ? $c >> 1 ^ 0x82f63b78 : $c >> 1 for 1 .. 8;
            push @crc, $c;
        }
    }
    my $c = 0xffffffff;
    $c = $crc[($c ^ $_) & 0xff] ^ $c >> 8 for unpack 'C*', $s;
    return $c ^ 0xffffffff;
}

# Frames of a streamed answer: messages.  check => 0 does not add up sums.
sub frames {
    my ($body, %p) = @_;
    my @out;
    my $at = 0;
    while ($at < length $body) {
        my $n = _uvarint(\$body, \$at);
        die "frame cut off\n" if $n + 4 > length($body) - $at;
        my $sum = unpack 'N', substr $body, $at, 4;
        push @out, substr $body, $at + 4, $n;
        $at += 4 + $n;
        next if defined $p{check} && !$p{check};
        die sprintf "frame of %d bytes: checksum %08x, not %08x\n", $n, $sum,
            crc32c($out[-1]) if crc32c($out[-1]) != $sum;
    }
    return @out;
}

# Samples of an XOR chunk.
sub _xor {
    my ($data) = @_;
    my $bits = unpack 'B*', substr $data, 2;
    my $n = unpack 'n', $data;
    my $pos = 0;
    my $take = sub {
        my ($k) = @_;
        return 0 if !$k;
        die "chunk cut off\n" if $pos + $k > length $bits;
        my $v = substr $bits, $pos, $k;
        $pos += $k;
        return unpack 'Q>', pack 'B64', ('0' x (64 - $k)) . $v;
    };
    my $varint = sub {
        my ($v, $shift) = (0, 0);
        while (1) {
            my $b = $take->(8);
            $v |= ($b & 0x7f) << $shift;
            return $v if $b < 0x80;
            $shift += 7;
        }
    };
    my ($t, $v, $delta, $lead, $trail, @out) = (0, 0, 0, 0, 0);
    for my $i (0 .. $n - 1) {
        if ($i == 0) {
            my $z = $varint->();
            $t = _signed($z >> 1 ^ -($z & 1));
            $v = $take->(64);
            push @out, [$t, $v];
            next;
        }
        if ($i == 1) {
            $delta = $varint->();
        } else {
            my $ones = 0;
            $ones++ while $ones < 4 && $take->(1);
            my $k = (0, 14, 17, 20, 64)[$ones];
            my $dod = $take->($k);
            { no warnings; use integer;
              $dod -= 1 << $k if $k && $k < 64 && $dod > 1 << $k - 1;
              $delta += $dod; }
        }
        { use integer; $t += $delta; }
        if ($take->(1)) {
            if ($take->(1)) {
                $lead = $take->(5);
                my $len = $take->(6) || 64;
                $trail = 64 - $lead - $len;
            }
            $v ^= $take->(64 - $lead - $trail) << $trail;
        }
        push @out, [$t, $v];
    }
    return @out;
}

# The same as samples() of a streamed answer to $n_queries queries.  A chunk
# whose times are not those that it says dies, and so does a series that is
# not where it belongs.
sub chunks {
    my ($body, $n_queries, %p) = @_;
    my @results = map { [] } 1 .. $n_queries;
    for my $frame (frames($body, %p)) {
        my ($query, @series) = (0);
        for my $f (_fields($frame)) {
            if ($f->[0] == 2) { $query = $f->[1] } else { push @series, $f->[1] }
        }
        die "frame of " . @series . " series\n" if @series != 1;
        my (@labels, @samples);
        for my $f (_fields($series[0])) {
            if ($f->[0] == 1) {
                push @labels, _label($f->[1]);
                next;
            }
            my %c = map { $_->[0] => $_->[1] } _fields($f->[1]);
            die "encoding $c{3}\n" if $c{3} != 1;
            next if length $c{4} <= 2;
            my @s = _xor($c{4});
            die "chunk with other times\n" if @s
                && ($s[0][0] != _signed($c{1} || 0)
                    || $s[-1][0] != _signed($c{2} || 0));
            push @samples, @s;
        }
        my $r = $results[$query];
        my $new = { labels => \@labels, samples => \@samples };
        if (@$r && text([$r->[-1]], 1) eq text([$new], 1)) {
            push @{$r->[-1]{samples}}, @samples;
        } else {
            push @$r, $new;
        }
    }
    return \@results;
}

# A result as text, a line a series; $names: without samples.
sub text {
    my ($series, $names) = @_;
    return join '', map {
        my $s = $_;
        '{' . join(',', map { "$_->[0]=\"$_->[1]\"" } @{$s->{labels}}) . '}'
            . ($names ? '' : join '', map { sprintf ' %s:%016x', @$_ }
                @{$s->{samples}}) . "\n";
    } @$series;
}

1;
