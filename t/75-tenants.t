#!/usr/bin/perl
# nightlight_tenant: two and many tenants in one store.  Nobody reads, changes
# or counts what is another's, by whatever name, label, path or header;
# through reload, flush, kill -9 and a lost head.
use strict;
use warnings;
use Test::More;
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Read qw(request samples);
use Nightlight::Side qw(exemplar1 series1);

*snappy = \&Nightlight::Test::snappy;

my $t = Nightlight::Test->new();
$t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/,
    qr/"nightlight_tenant"/, qr/the head is given up/, qr/new head/);

my $TENANTS = 40;

# X-Scope says who one is: in a test, nothing stands in front.
sub conf {
    my ($tenants, $more) = @_;
    $t->write_conf(store => "memory=48m retention=10y wal_sync=1s tenants=$tenants",
        server => 'large_client_header_buffers 4 2m;',
        http => <<'EOH', locations => <<'EOL' . ($more || ''));
    map $http_x_user $mapped { default ''; ada lovelace; bob 'builder'; }
EOH
        location = /api/v1/write { nightlight_write main; nightlight_tenant $http_x_scope; }
        location /api/v1/        { nightlight_query main; nightlight_tenant $http_x_scope; }
        location /api/v1/admin/  { nightlight_admin main; nightlight_tenant $http_x_scope; }
        location = /federate     { nightlight_query main; nightlight_tenant $http_x_scope; }
        location /plain/         { nightlight_query main; }
        location = /plain/write  { nightlight_write main; }
        location /operator/      { nightlight_admin main; }
        location = /known/write  { nightlight_write main; nightlight_tenant $http_x_scope;
                                   nightlight_tenant_create off; }
        location = /mapped/write { nightlight_write main; nightlight_tenant $mapped; }
        location /mapped/        { nightlight_query main; nightlight_tenant $mapped; }
        location /-/             { nightlight_status main; }
EOL
}
conf($TENANTS);
$t->run();

my $now = int(time()) * 1000;

# As a tenant (undef: a header is not sent), a request of any kind.
sub as {
    my ($who, $method, $uri, %p) = @_;
    my %h = %{delete $p{headers} || {}};
    $h{'X-Scope'} = $who if defined $who;
    return $t->http($method, $uri, headers => \%h, %p);
}

sub put {
    my ($who, $labels, $v, %p) = @_;
    return as($who, 'POST', $p{uri} || '/api/v1/write',
        headers => { %Nightlight::Test::WRITE_HEADERS, %{$p{headers} || {}} },
        body => snappy(Nightlight::Test::series_pb($labels, [$p{t} || $now, $v])));
}

sub get {
    my ($who, $path, %p) = @_;
    return as($who, 'GET', "/api/v1/$path?" . Nightlight::Test::form(%p));
}

# Sum of what a selector finds, and how many series; "" is nothing.
sub sum_of {
    my ($who, $query) = @_;
    my $r = get($who, 'query', query => "sum($query)", time => $now / 1000 + 1);
    my $json = eval { JSON::PP->new->decode($r->{body}) };
    return "$r->{status} $r->{body}" if !$json || $r->{status} != 200;
    return join ',', map { $_->{value}[1] } @{$json->{data}{result}};
}

# ---- two tenants ----

is(put('a', { __name__ => 'm', of => 'alpha-secret' }, 1)->{status}, 204, 'a writes');
is(put('b', { __name__ => 'm', of => 'beta-secret' }, 10)->{status}, 204, 'b writes');
is(put('a', { __name__ => 'only_a', x => 'alpha-secret' }, 100)->{status}, 204,
    'a writes what b has not');
is(put(undef, { __name__ => 'm', of => 'default-secret' }, 1000,
    uri => '/plain/write')->{status}, 204, 'so does the default tenant');

my $everything = '{__name__=~".+"}';
is(sum_of('a', 'm'), 1, 'a reads its own');
is(sum_of('b', 'm'), 10, 'b too');
is(sum_of('a', $everything), 101, 'all of a');
is(sum_of('b', $everything), 10, 'all of b');
is(sum_of('nobody-yet', $everything), '', 'an unknown tenant has nothing');

# the same labels in two tenants are two series
is(put($_, { __name__ => 'same', x => '1' }, $_ eq 'a' ? 2 : 3)->{status}, 204,
    "$_: same labels") for qw(a b);
is(sum_of('a', 'same'), 2, 'a: its own value');
is(sum_of('b', 'same'), 3, 'b: its own value');

# exemplars and metadata
sub meta {
    my ($name, $help) = @_;
    my $f = \&Nightlight::Test::field;
    my $m = "\x08\x01" . chr(0x12) . chr(length $name) . $name
        . chr(0x22) . chr(length $help) . $help;
    return chr(0x1a) . chr(length $m) . $m;
}
for my $who (qw(a b)) {
    my $r = as($who, 'POST', '/api/v1/write', headers => \%Nightlight::Test::WRITE_HEADERS,
        body => snappy(meta("family_$who", $who eq 'a' ? 'alpha-secret' : 'beta-secret')));
    is($r->{status}, 204, "$who: metadata") or diag($r->{body});
}

# the same series and time, each with an exemplar of its own
sub put_exemplars {
    my ($ms) = @_;
    for my $who (qw(a b)) {
        my $r = as($who, 'POST', '/api/v1/write', headers => \%Nightlight::Test::WRITE_HEADERS,
            body => snappy(series1({ __name__ => 'traced' }, [$ms, 0],
                exemplar1({ trace_id => $who eq 'a' ? 'alpha-secret' : 'beta-secret' }, 1, $ms))));
        is($r->{status}, 204, "$who: an exemplar") or diag($r->{body});
    }
}
put_exemplars($now);
sub exemplars { return get($_[0], 'query_exemplars', query => 'traced', start => 0, end => $now / 1000 + 60)->{body} }
like(exemplars('a'), qr/"trace_id":"alpha-secret"/, 'a has its exemplar');
like(exemplars('b'), qr/"trace_id":"beta-secret"/, 'b too');
is(exemplars('nobody-yet'), '{"status":"success","data":[]}', 'an unknown tenant has none');

# ---- every endpoint that reads, as the other ----

sub leaks_nothing {
    my ($what) = @_;
    my @paths = (
        ['query', query => $everything, time => $now / 1000 + 1],
        ['query', query => '{of=~".+"}', time => $now / 1000 + 1],
        ['query', query => '{of!="x"}', time => $now / 1000 + 1],
        ['query', query => 'only_a', time => $now / 1000 + 1],
        ['query', query => 'count({__name__!=""})', time => $now / 1000 + 1],
        ['query_range', query => $everything, start => $now / 1000 - 60,
            end => $now / 1000 + 60, step => 10],
        ['series', 'match[]' => $everything], ['labels'], ['label/__name__/values'],
        ['label/of/values'], ['label/x/values'], ['label/%00t/values'],
        ['label/U__0__t/values'], ['metadata'], ['targets/metadata'],
        ['query_exemplars', query => $everything, start => 0, end => $now / 1000 + 60],
        ['status/tsdb'], ['status/tsdb/blocks'], ['status/runtimeinfo'],
        ['status/config'], ['status/flags'], ['status/self_metrics'], ['rules'], ['alerts'], ['targets'],
        ['parse_query', query => 'only_a'], ['features'],
    );
    my %saw;
    for my $p (@paths) {
        my ($path, %form) = @$p;
        for my $who (qw(b nobody-yet)) {
            my $r = get($who, $path, %form);
            $saw{"$who $path"} = $r->{body}
                if $r->{body} =~ /alpha-secret|default-secret|family_a/
                || ($path ne 'parse_query' && $r->{body} =~ /only_a/)
                || ($who ne 'b' && $r->{body} =~ /beta-secret/);
        }
        my $own = get('a', $path, %form);
        $saw{"a $path"} = $own->{body}
            if $own->{body} =~ /beta-secret|default-secret|family_b/;
    }
    my $r = as('b', 'GET', '/federate?' . Nightlight::Test::form('match[]' => $everything));
    is($r->{status}, 200, "$what: federate");
    like($r->{body}, qr/beta-secret/, "$what: b's own is there");
    $saw{federate} = $r->{body} if $r->{body} =~ /alpha-secret|default-secret|only_a/;
    for my $types ([0], [1, 0]) {
        my $rr = as('b', 'POST', '/api/v1/read', body => snappy(request(
            [[0, $now + 60000, [2, '__name__', '.+']]], types => $types)), headers => {
            'Content-Type' => 'application/x-protobuf', 'Content-Encoding' => 'snappy',
            'X-Prometheus-Remote-Read-Version' => '0.1.0' });
        is($rr->{status}, 200, "$what: remote_read @$types") or diag($rr->{body});
        like($rr->{body}, qr/beta-secret/, "$what: b's own is read");
        $saw{"read @$types"} = 'leak' if $rr->{body} =~ /alpha-secret|default-secret|only_a/;
    }
    is_deeply(\%saw, {}, "$what: nobody sees what is another's");
}
leaks_nothing('fresh');

# what is said about the store says nothing of other tenants
for my $who ('b', 'nobody-yet') {
    my $r = get($who, 'status/self_metrics');
    is($r->{status}, 200, "$who: self_metrics");
    like($r->{body}, qr/nightlight_build_info/, 'they say what is running');
    my %of = map { $_ => 1 } $r->{body} =~ /"name":"tenant","value":"([^"]*)"/g;
    is_deeply([sort keys %of], $who eq 'b' ? ['b'] : [], "$who: of nobody else");
    unlike($r->{body}, qr/nightlight_(?:samples|head|wal|blocks|tenants")/, "$who: nothing of all of the store");
    is(get($who, 'status/tsdb/blocks')->{body}, '{"status":"success","data":{"blocks":[]}}', "$who: no blocks");
}
unlike(get('nobody-yet', 'status/tsdb')->{body}, qr/"value"|"numSeries":[1-9]|"chunkCount":[1-9]|"numLabelPairs":[1-9]/,
    'status/tsdb has nothing of others, nor how much there is');
for my $path ('drain', 'resume', 'tsdb/clean_tombstones', 'tenants/delete?name=b') {
    my $r = as('a', 'POST', "/api/v1/admin/$path");
    is($r->{status}, 403, "a tenant may not: $path");
    is($r->{body}, '{"status":"error","errorType":"forbidden","error":"this is about all of the store, '
        . 'and only where there is no \"nightlight_tenant\""}', 'and is told why');
}
is($t->http('GET', '/-/ready')->{status}, 200, 'nothing was drained');

# refusals: JSON where JSON is the answer, a line of text elsewhere
for (['', 403, 'forbidden', 'no tenant: \"nightlight_tenant\" is empty for this request'],
    ["a\x01", 400, 'bad_data', 'the name of the tenant has a control character (U+0001)']) {
    my ($who, $status, $type, $text) = @$_;
    my $json = "{\"status\":\"error\",\"errorType\":\"$type\",\"error\":\"$text\"}";
    $text =~ s/\\//g;
    for my $path ('query?query=m', 'labels', 'admin/tenants', 'status/tsdb', 'nothing/here') {
        my $r = as($who, 'GET', "/api/v1/$path");
        is("$r->{status} $r->{body}", "$status $json", "$path: JSON");
        is($r->{headers}{'content-type'}, 'application/json', "$path: and called so");
    }
    for (['GET', '/federate?match[]=m'], ['POST', '/api/v1/read'], ['POST', '/api/v1/write']) {
        my $r = as($who, @$_, headers => { %Nightlight::Test::WRITE_HEADERS }, body => '');
        is($r->{status}, $status, "@$_: the same status");
        is($r->{body}, "$text\n", "@$_: plain text");
    }
    is(as($who, 'OPTIONS', '/api/v1/query')->{status}, 204, 'a browser that asks first does not say who it is');
}
like(get('a', 'metadata')->{body}, qr/family_a.*alpha-secret/s, 'a has its metadata');
like(get('b', 'metadata')->{body}, qr/family_b/, 'b too');
like(as(undef, 'GET', '/plain/query?query=m&time=' . ($now / 1000 + 1))->{body},
    qr/default-secret/, 'the default tenant reads its own');
unlike(as(undef, 'GET', '/plain/series?' . Nightlight::Test::form('match[]' => $everything))
    ->{body}, qr/alpha|beta/, 'and nobody else\'s');
my $head = JSON::PP->new->decode(get('b', 'status/tsdb')->{body});
is($head->{data}{headStats}{numSeries}, 3, 'statistics are of the tenant');

# ---- names ----

my %names = ('..' => 204, '/' => 204, '../../etc/passwd' => 204, '%2e%2e' => 204,
    'a b' => 204, "caf\xc3\xa9" => 204, 'A' => 204, '*' => 204, '{of=~".+"}' => 204,
    'x' x 128 => 204, 'x' x 129 => 400, 'x' x (1 << 20) => 400, "\xff" => 400,
    "\xc0\xae" => 400, "a\x01b" => 400, "a\x7f" => 400, "\xc2\x85" => 400, '' => 403);
my $i = 0;
for my $name (sort keys %names) {
    my $shown = length $name > 40 ? length($name) . ' bytes' : "'" . Nightlight::Test::escape($name) . "'";
    my $r = put($name, { __name__ => 'named' }, ++$i);
    is($r->{status}, $names{$name}, "$shown writes: $names{$name}") or diag(substr($r->{body}, 0, 200));
    if ($names{$name} == 204) {
        is(sum_of($name, 'named'), $i, "$shown has its own");
    } else {
        is(get($name, 'query', query => 'm')->{status}, $names{$name}, "$shown reads: the same");
    }
}
is(put(undef, { __name__ => 'm' }, 5)->{status}, 403, 'no header: no tenant');
like(get(undef, 'labels')->{body}, qr/nightlight_tenant/, 'the answer names the directive');
for my $raw ("X-Scope: a\0b", "X-Scope: a\0") {
    my $s = $t->connect();
    my $r = $t->http_raw($s, "GET /api/v1/labels HTTP/1.1\r\nHost: x\r\nConnection: close\r\n$raw\r\n\r\n");
    is($r->{status}, 400, 'NUL in a name: 400');
}
is(sum_of('a', $everything), 103, 'a has what it had');
ok(!-e $t->dir . "/store/$_", "no file $_") for 'a', '..x', 'named';

# ---- attacks ----

# two headers, other spellings, a proxy's favourites: one value counts
my $s = $t->connect();
my $r = $t->http_raw($s, "GET /api/v1/series?match[]=m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    . "X-Scope: b\r\nx-scope: a\r\nX_Scope: a\r\nX-Scope-OrgID: a\r\n\r\n");
unlike($r->{body}, qr/alpha-secret/, 'a second header does not help');
for my $path ('/api/v1/../../plain/series', '/api/v1//series', '/api/v1/%2e%2e/plain/series',
    '/api/v1/a/series', '/api/v1/series/a', '/api/v1/series;tenant=a', '/api/v1/series%00a') {
    my $x = as('b', 'GET', "$path?match[]=only_a");
    unlike($x->{body}, qr/alpha-secret/, "$path shows nothing");
}
for my $arg ('tenant=a', 'X-Scope=a', 'nightlight_tenant=a', 'match[]=only_a&tenant=1') {
    unlike(as('b', 'GET', "/api/v1/series?match[]={__name__=~\".%2B\"}&$arg")->{body},
        qr/alpha-secret/, "$arg does not help");
}
# matchers and labels of the private name
for my $q ('{"\u0000t"="1"}', '{"\u0000t"=~".*",__name__=~".+"}', '{"\u0000t"!="2",__name__=~".+"}',
    'm or {"\u0000t"="1"}') {
    my $x = get('b', 'query', query => $q, time => $now / 1000 + 1);
    unlike($x->{body}, qr/alpha-secret|default-secret/, "$q shows nothing of others");
}
for my $labels ({ "\0t" => '1', __name__ => 'inject', of => 'injected' },
    { __name__ => 'inject', "\0t" => '0', of => 'injected' },
    { "\0" => '1', __name__ => 'inject', of => 'injected' }) {
    put('b', $labels, 7);
}
is(sum_of('a', 'inject'), '', 'b cannot put labels that make a series a\'s');
unlike(as(undef, 'GET', '/plain/series?match[]=inject')->{body}, qr/injected/, 'nor the default tenant\'s');

# a map without a line for somebody refuses him
is(put(undef, { __name__ => 'm' }, 5, uri => '/mapped/write',
    headers => { 'X-User' => 'ada' })->{status}, 204, 'ada is lovelace');
is(put(undef, { __name__ => 'm' }, 5, uri => '/mapped/write',
    headers => { 'X-User' => 'eve' })->{status}, 403, 'eve is nobody');
is(sum_of('lovelace', 'm'), 5, 'and lovelace has it');

# ---- created, not created, too many ----

is(put('fresh', { __name__ => 'm' }, 1, uri => '/known/write')->{status}, 403,
    'tenant_create off: an unknown tenant is refused');
is(put('a', { __name__ => 'known' }, 1, uri => '/known/write')->{status}, 204, 'a known one is not');
sub tenants {
    my $r = $t->http('GET', '/operator/tenants');
    return @{JSON::PP->new->utf8->decode($r->{body})->{data}{tenants}};
}
my @list = tenants();
ok(!grep({ $_->{name} eq 'fresh' || $_->{name} eq 'nobody-yet' } @list), 'reading makes no tenant');
my ($of_a) = grep { $_->{name} eq 'a' } @list;
is($of_a->{series}, 5, 'the list has series of a');
is($of_a->{samples}, 5, 'and samples');
is($list[0]{number}, 0, 'the default tenant is number 0');
is(as('a', 'GET', '/api/v1/admin/tenants')->{status}, 403, 'a tenant does not see the list');
is(as('a', 'POST', '/api/v1/admin/tenants/delete?name=b')->{status}, 403, 'nor deletes one');
my $full = 0;
for my $n (1 .. $TENANTS) {
    my $x = put("many-$n", { __name__ => 'm' }, $n);
    next if $x->{status} == 204;
    $full++;
    next if $full > 1;
    is($x->{status}, 429, 'one too many: 429');
    like($x->{body}, qr/tenants=$TENANTS/, 'the answer names the limit');
}
ok($full, 'the limit was reached');
is(scalar(tenants()), $TENANTS + 1, 'as many as configured, and the default one');
is(put('a', { __name__ => 'still' }, 1)->{status}, 204, 'known tenants go on');

# ---- deletes ----

is(as('b', 'POST', '/api/v1/admin/tsdb/delete_series?match[]=same')->{status}, 204,
    'b deletes a series');
is(sum_of('b', 'same'), '', 'it is gone');
is(sum_of('a', 'same'), 2, "a's is there");
is(as('b', 'POST', '/api/v1/admin/tsdb/delete_series?match[]={__name__=~".%2B"}')->{status}, 204,
    'b deletes all');
is(sum_of('b', $everything), '', 'all is gone');
is(sum_of('a', 'm'), 1, "a's is there still");
like(as(undef, 'GET', '/plain/query?query=m')->{body}, qr/default-secret/, "so is the default tenant's");
is(put('b', { __name__ => 'm', of => 'beta-secret' }, 10, t => $now + 1)->{status}, 204, 'b writes again');
is(as('never-there', 'POST', '/api/v1/admin/tsdb/delete_series?match[]=m')->{status}, 204,
    'an unknown tenant deletes nothing');

# ---- reload, kill -9, a lost head ----

sub holds {
    my ($what) = @_;
    is(sum_of('a', 'm'), 1, "$what: a");
    is(sum_of('b', 'm'), 10, "$what: b");
    is(sum_of('..', 'named'), $names{'..n'}, "$what: ..");
    leaks_nothing($what);
}
$names{'..n'} = sum_of('..', 'named');
conf(2 * $TENANTS);
$t->reload();
holds('reload with more tenants');
is(put('many-39x', { __name__ => 'm' }, 1)->{status}, 204, 'there is room again');
conf(2);
$t->reload();
holds('reload with less');
is(put('another', { __name__ => 'm' }, 1)->{status}, 429, 'no new ones');
is(put('a', { __name__ => 'still' }, 1)->{status}, 204, 'known ones go on');
conf(2 * $TENANTS);
$t->kill9_all();
$t->run();
holds('kill -9');
$t->stop();
unlink glob $t->dir . '/head/*';
$t->run();
holds('head lost');
is(put('many-39x', { __name__ => 'm2' }, 1)->{status}, 204, 'and goes on');

# ---- blocks ----

sub flush {
    # not blocks: they are merged meanwhile
    my $flushes = $t->log_lines(qr/arena \d+ is in \d+ blocks/);
    $t->http('POST', '/-/flush');
    $t->wait_for(sub { $t->log_lines(qr/arena \d+ is in \d+ blocks/) > $flushes }, 'flushed', 30);
}
flush();
like($t->read_file('store/TENANTS'), qr/^tenant 1 61 /m, 'TENANTS has names in hex');
holds('flushed');
$t->stop();
unlink glob $t->dir . '/head/*';
$t->run();
holds('flushed, head lost');
is(as('b', 'POST', '/api/v1/admin/tsdb/delete_series?match[]=m')->{status}, 204,
    'b deletes what is in blocks');
is(sum_of('b', 'm'), '', 'it is gone');
is(sum_of('a', 'm'), 1, "a's is there");
is(put('b', { __name__ => 'm', of => 'beta-secret' }, 10, t => $now + 2)->{status}, 204, 'b writes again');

# ---- a tenant is deleted ----

is($t->http('POST', '/operator/tenants/delete?name=nobody-yet')->{status}, 404, 'nobody to delete');
is($t->http('POST', '/operator/tenants/delete?name=')->{status}, 400, 'nor nameless');
my $was = (grep { $_->{name} eq 'a' } tenants())[0]{number};
put_exemplars($now + 3);
my ($meta_a, $meta_b) = map { qr/^family \d+ \S+ \d+ @{[unpack 'H*', "family_$_"]} /m } 'a', 'b';
like($t->read_file('store/METADATA'), $meta_a, 'METADATA has its metadata');
is($t->http('POST', '/operator/tenants/delete?name=a')->{status}, 204, 'a is deleted');
unlike($t->read_file('store/METADATA'), $meta_a, 'and then has not');
like($t->read_file('store/METADATA'), $meta_b, "but b's");
is(sum_of('a', $everything), '', 'a has nothing');
is(get('a', 'metadata')->{body}, '{"status":"success","data":{}}', 'nor metadata');
is(sum_of('b', 'm'), 10, 'b has');
ok(!grep({ $_->{name} eq 'a' } tenants()), 'a is not in the list');
is(put('a', { __name__ => 'reborn' }, 3)->{status}, 204, 'the name can be used again');
isnt((grep { $_->{name} eq 'a' } tenants())[0]{number}, $was, 'it has another number');
is(sum_of('a', $everything), 3, 'it has only what is new');
is(exemplars('a'), '{"status":"success","data":[]}', 'and no exemplar of before');
like(exemplars('b'), qr/"trace_id":"beta-secret"/, "b's is there");
for my $round ('kill -9', 'head lost') {
    $round eq 'kill -9' ? $t->kill9_all() : $t->stop();
    unlink glob $t->dir . '/head/*' if $round eq 'head lost';
    $t->run();
    is(sum_of('a', $everything), 3, "$round: nothing comes back");
    is(sum_of('b', 'm'), 10, "$round: b is there");
}

# ---- TENANTS is lost: what it named is nobody's, and nobody's it stays ----

flush();
my %old = map { my $name = $_->{name}; utf8::encode($name); $name => $_->{number} } tenants();
$t->expect_log(qr/unknown tenant/);
$t->stop();
unlink glob($t->dir . '/head/*'), $t->dir . '/store/TENANTS';
sub inspect { return scalar `$Nightlight::Test::ROOT/build/nightlight-inspect --head=@{[$t->dir]}/head @{[$t->dir]}/store 2>&1` }
like(inspect(), qr/CORRUPT: TENANTS knows numbers below 1, blocks may have numbers below \d+\n.*gives none of them again/,
    'inspect says what is lost');
$t->run();
like($t->read_file('error.log'), qr/\[crit\].*unknown tenant $old{"%2e%2e"} has 1 series in 1 blocks: TENANTS does not name it; they are kept/,
    'the log names who is unknown');
for my $who (sort keys %old, 'stranger') {
    next if $who eq '' || grep { $who eq $_ } 'a', 'stranger';
    is(sum_of($who, $everything), '', Nightlight::Test::escape($who) . ' has nothing: its name is not known');
}
is(put($_, { __name__ => 'after' }, 1)->{status}, 204, "$_ writes") for 'a', 'stranger', map { "new-$_" } 1 .. 30;
my ($most) = sort { $b <=> $a } values %old;
ok(!grep({ $_->{number} && $_->{number} <= $most } tenants()), 'no number is given again');
is(sum_of($_, $everything), 1, "$_ has what it wrote, and nothing of before")
    for 'a', 'stranger', map { "new-$_" } 1 .. 30;
flush();
my ($shown) = sort grep { $_ } values %old; # by text, as in the index
like(inspect(), qr/series by tenant:.* $shown: \d/, 'what was before is in its block');
$t->stop();
unlink glob $t->dir . '/head/*';
$t->run();
is(sum_of($_, $everything), 1, "$_: and so after another start") for 'a', 'new-1', 'new-30';
$t->end();

# ---- examples/tenants.conf as it stands ----

$t = Nightlight::Test->new();
my $conf = $t->read_file("$Nightlight::Test::ROOT/examples/tenants.conf");
my %port = map { $_ => $t->port($_ eq 9102 ? 'http' : $_) } 9101, 9102;
for (sort keys %port) {
    like($conf, qr/listen 127\.0\.0\.1:$_;/, "the example listens on $_");
    $conf =~ s/127\.0\.0\.1:$_/127.0.0.1:$port{$_}/g;
}
$conf =~ s{modules/ngx_http_nightlight_module\.so}{$t->{module}};
$conf =~ s/error_log  error.log warn;/error_log error.log info; daemon off;/;
$conf =~ s/path=store/path=store head=head/;
$conf = "user root;\n$conf" if $> == 0;
$t->write_file('nginx.conf', $conf);
$t->write_file('users', join '', map { "$_:{PLAIN}pw-$_\n" } qw(web-prom web-grafana db-prom db-grafana eve-prom));
$t->expect_log(qr/"nightlight_tenant" is empty/);
$t->run();

# As a user of the example.
sub user {
    my ($who, $method, $uri, %p) = @_;
    my %h = %{delete $p{headers} || {}};
    $h{Authorization} = 'Basic ' . encode_base64("$who:pw-$who", '') if defined $who;
    return $t->http($method, $uri, port => 9101, headers => \%h, %p);
}
sub send_as {
    my ($who, $labels, $v) = @_;
    return user($who, 'POST', '/api/v1/write', headers => { %Nightlight::Test::WRITE_HEADERS },
        body => snappy(Nightlight::Test::series_pb($labels, [int(time()) * 1000, $v])));
}
sub user_sum {
    my ($who) = @_;
    my $r = user($who, 'GET', '/api/v1/query?query=sum(up)');
    return $r->{body} =~ /"value":\[[^,]*,"([^"]*)"\]/ ? $1 : $r->{body};
}
is(send_as('web-prom', { __name__ => 'up', sender => 'forged' }, 1)->{status}, 204, 'web writes');
is(send_as('db-prom', { __name__ => 'up' }, 10)->{status}, 204, 'db writes');
is(user_sum('web-grafana'), 1, 'web reads its own');
is(user_sum('db-grafana'), 10, 'db too');
like(user('web-grafana', 'GET', '/api/v1/series?match[]=up')->{body}, qr/"sender":"web-prom"/,
    'who sent it is stamped');
is(send_as('web-grafana', { __name__ => 'up' }, 1)->{status}, 403, 'who reads does not write');
is(user('web-grafana', 'POST', '/api/v1/admin/tsdb/snapshot')->{status}, 403, 'nor takes snapshots');
is(user('web-prom', 'POST', '/api/v1/admin/tsdb/snapshot')->{status}, 200, 'who writes does');
is(user('web-prom', 'GET', '/api/v1/admin/tenants')->{status}, 403, 'and does not see who there is');
is(user(undef, 'GET', '/api/v1/labels')->{status}, 401, 'without a password nobody');
my $eve = send_as('eve-prom', { __name__ => 'up' }, 1);
is($eve->{status}, 403, 'with one that is not in the map, neither');
like($eve->{body}, qr/no tenant/, 'and says why');
is(user('web-prom', 'GET', '/-/ready')->{status}, 404, 'nothing else is there');
is_deeply([map { $_->{name} } @{JSON::PP->new->decode($t->http('GET', '/api/v1/admin/tenants')
    ->{body})->{data}{tenants}}], ['', 'web', 'db'], 'the operator sees all');
like($t->http('GET', '/as/query?query=up', headers => { 'X-Tenant' => 'db' })->{body}, qr/"db-prom"/,
    'and looks at one');
like($t->http('GET', '/metrics')->{body}, qr/^nightlight_tenant_\w+\{tenant="web"\}/m, 'and counts each');
$t->done();
